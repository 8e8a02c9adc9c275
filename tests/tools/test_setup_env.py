import importlib.util
import io
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup_env(monkeypatch, tmp_path):
    module = load('setup_env')
    monkeypatch.setattr(module, 'VENV', tmp_path / '.venv')
    monkeypatch.setattr(module, 'PYTHON', tmp_path / '.venv/bin/python')
    return module


def fake_venv(folder, version):
    """An environment whose Python prints ``version``."""
    python = folder / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "{version}"\n')
    python.chmod(0o755)


def test_progress_reads_what_ninja_prints(setup_env):
    log = io.StringIO('old [9/9]\n  [1/78] c++ a\n  [2/78] c++ [b] 5/6\n')
    assert setup_env.progress(log, setup_env.time.time() - 61, 10) == '1:01 compiled 2 of 78 files'


def test_no_suitable_python(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env, 'WANTED', (3, 99))
    with pytest.raises(setup_env.SetupError, match='no usable python3.99'):
        setup_env.find_python()


def test_environment_of_another_python_is_kept(setup_env, tmp_path):
    fake_venv(tmp_path, '3 12')
    with pytest.raises(setup_env.SetupError, match='holds Python 3.12'):
        setup_env.make_venv()
    assert (tmp_path / '.venv').exists()


def test_folder_that_is_no_environment_is_kept(setup_env, tmp_path):
    (tmp_path / '.venv').mkdir()
    (tmp_path / '.venv' / 'precious').touch()
    with pytest.raises(setup_env.SetupError, match='no Python environment'):
        setup_env.make_venv()
    assert (tmp_path / '.venv' / 'precious').exists()


def test_key_follows_the_pins(setup_env, monkeypatch, tmp_path):
    before = setup_env.key()
    assert setup_env.key() == before
    pins = tmp_path / 'pins.txt'
    pins.write_text('torch==1.0\n')
    monkeypatch.setattr(setup_env, 'requirement_files', lambda names: [pins])
    assert setup_env.key() != before


def test_failure_shows_the_end_of_the_log(setup_env, monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env, 'ROOT', tmp_path)
    monkeypatch.setattr(setup_env, 'LOG', tmp_path / 'log')
    with pytest.raises(setup_env.SetupError, match='mmcv failed') as error:
        setup_env.run_logged([sys.executable, '-c', 'print("no compiler"); exit(1)'], 'mmcv')
    assert 'no compiler' in str(error.value)


def test_missing_requirements(tmp_path):
    pins = tmp_path / 'pins.txt'
    pins.write_text('# pins\npip\npip<1  # too old\nnot-there-at-all==2\n')
    assert load('inspect_env').missing([pins]) == ['pip<1', 'not-there-at-all==2']


def distribution(folder, name, files, record=True):
    info = folder / f'{name}-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
    if record:
        lines = [f'{file},,{size}' for file, size in files.items()]
        (info / 'RECORD').write_text('\n'.join(lines) + '\n')
    return str(info)


def test_damaged_distributions(tmp_path, monkeypatch):
    (tmp_path / 'whole.py').write_text('12345')
    (tmp_path / 'cut.py').write_text('123')
    (tmp_path / 'both.py').write_text('123')
    distribution(tmp_path, 'whole', {'whole.py': 5, 'a.pyc': 7})
    distribution(tmp_path, 'cut', {'cut.py': 5})
    distribution(tmp_path, 'gone', {'gone.py': 5})
    distribution(tmp_path, 'first', {'both.py': 5})
    distribution(tmp_path, 'second', {'both.py': 3})
    unrecorded = distribution(tmp_path, 'unrecorded', {}, record=False)
    inspect_env = load('inspect_env')
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert sorted(inspect_env.damaged(), key=str) == sorted(
        [('cut==1.0', None), ('gone==1.0', None), ('unrecorded==1.0', unrecorded)], key=str
    )
