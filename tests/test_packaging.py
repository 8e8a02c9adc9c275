import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def run(*command, **kwargs):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel built from a copy of the files that are in version control."""
    source = tmp_path_factory.mktemp('source')
    names = run(
        'git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', cwd=ROOT
    ).split('\0')
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    folder = tmp_path_factory.mktemp('wheel')
    run(
        sys.executable,
        '-m',
        'pip',
        'wheel',
        '--no-deps',
        '--no-build-isolation',
        '-w',
        folder,
        source,
    )
    assert not (source / 'dense_ssl' / '.mim').exists()
    return next(folder.glob('*.whl'))


def test_wheel_carries_every_config_and_tool(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind in ('configs', 'tools'):
        for path in (ROOT / kind).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                assert f'dense_ssl/.mim/{name}' in names
    assert 'dense_ssl/.mim/model-index.yml' in names
    for kind in ('*.py', '*.jinja'):
        for path in (ROOT / 'dense_ssl').rglob(kind):
            if '.mim' not in path.parts:
                assert path.relative_to(ROOT).as_posix() in names
    assert not [n for n in names if n.startswith(('tests/', 'configs/'))]


def test_wheel_needs_no_particular_openmmlab_distribution(wheel):
    archive = zipfile.ZipFile(wheel)
    name = next(n for n in archive.namelist() if n.endswith('/METADATA'))
    lines = archive.read(name).decode().splitlines()
    needed = [
        line for line in lines if line.startswith('Requires-Dist:') and 'extra ==' not in line
    ]
    assert needed and not [n for n in needed if 'mm' in n or 'torch' in n]
    extras = {x.split()[1] for x in lines if x.startswith('Provides-Extra')}
    assert extras == {'mmlab', 'optional', 'tests', 'tensorboard', 'all'}


def test_configs_resolve_from_an_installed_wheel(wheel, tmp_path):
    target = tmp_path / 'site'
    run(
        sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index', '--target', target, wheel
    )
    (tmp_path / 'cfg.py').write_text("_base_ = 'dense_ssl::_base_/default_runtime.py'")
    code = (
        'import dense_ssl, mmengine\n'
        f'assert dense_ssl.__file__.startswith({str(target)!r})\n'
        "cfg = mmengine.Config.fromfile('cfg.py')\n"
        "assert cfg.default_scope == 'dense_ssl'\n"
    )
    run(sys.executable, '-c', code, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(target)})


def test_model_index_lists_metafiles_with_existing_configs():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index['Import']
    for name in index['Import']:
        for model in yaml.safe_load((ROOT / name).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), model['Config']
