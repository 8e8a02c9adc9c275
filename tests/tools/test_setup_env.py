"""`make setup` with a Python that only writes down what it is asked to install."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ['torch', 'build', 'mmcv', 'mmlab', 'tests', 'own']
# Makes an environment whose Python is itself, and writes pip's calls down; pip fails where it is
# asked for requirements/$FAIL.txt.
PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python;;
  "-m pip --version"|"-m pip check") ;;
  "-m pip"*" install "*)
    echo "$*" >> calls
    echo 'Requirement already satisfied: pip'; echo '  Building wheel for a: still running...'
    sleep "${WAIT:-0}"
    case "$*" in *"requirements/${FAIL:-none}.txt"*) echo no compiler >&2; exit 1;; esac;;
  *mmcv.ops*) echo works >> calls; ! rm broken-mmcv 2> /dev/null;;
  *version_info*) test -z "$OLD";;
  *) echo "$*"; exit 9;;
esac
"""

pytestmark = pytest.mark.skipif(
    not (shutil.which('make') and shutil.which('flock')), reason='there is no make or no flock'
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'my clone'
    folder.mkdir()
    for name in ('Makefile', 'requirements', 'setup.py', 'pyproject.toml'):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / 'dense_ssl').mkdir()
    shutil.copy(ROOT / 'dense_ssl/version.py', folder / 'dense_ssl')
    (folder / 'python').write_text(PYTHON)
    (folder / 'python').chmod(0o755)
    return folder


def start(folder, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith('MAKE')}
    return subprocess.Popen(
        ['make', 'setup', 'PYTHON=./python'],
        cwd=folder,
        env={**env, **more},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # a shell's background job ignores it, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def setup(folder, code=0, **more):
    """What `make setup` says, and the stages that it went through."""
    (folder / 'calls').write_text('')
    process = start(folder, **more)
    said, _ = process.communicate(timeout=60)
    assert bool(process.returncode) == bool(code), said
    return said, [x for x in STAGES if f'[setup] {x}: ' in said]


def later(path):
    """As if edited now: the stamps may be as young as the clock can tell."""
    os.utime(path, (time.time() + 1,) * 2)


def test_every_stage_once(folder):
    said, stages = setup(folder)
    assert stages == STAGES
    assert said.count('C++ to compile') == said.count('a few GB') == 1
    calls = (folder / 'calls').read_text().splitlines()
    names = [' '.join(w for w in call.split() if w.endswith('.txt')) for call in calls]
    pins = 'requirements/torch.txt'
    assert names == [
        f'{pins} {pins}',
        f'{pins} requirements/build.txt',
        f'{pins} requirements/mmcv.txt',
        '',
        f'{pins} requirements/mmlab.txt',
        ' '.join(
            [pins]
            + [f'requirements/{x}.txt' for x in ('tests', 'optional', 'tensorboard', 'runtime')]
        ),
        pins,
    ]
    assert calls[3] == 'works'
    assert '--no-build-isolation' in calls[2]
    assert calls[-1].endswith('--no-deps --no-build-isolation -e .')
    assert setup(folder) == ('[setup] .venv is ready\n', [])
    assert not (folder / 'calls').read_text()


@pytest.mark.parametrize('name, first', [('torch', 0), ('mmcv', 2), ('runtime', 4)])
def test_changed_requirements_redo_their_stage_and_those_after(folder, name, first):
    setup(folder)
    later(folder / f'requirements/{name}.txt')
    assert setup(folder)[1] == STAGES[first:]


def test_a_stage_that_failed_is_where_the_next_one_begins(folder):
    said, stages = setup(folder, code=1, FAIL='mmcv')
    assert stages == ['torch', 'build', 'mmcv']
    assert said.index('no compiler\n') < said.index('[setup] not finished: run this again')
    assert '[setup] mmcv: done' not in said
    assert setup(folder)[1] == STAGES[2:]


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_a_killed_stage_is_where_the_next_one_begins(folder, how):
    process = start(folder, WAIT='30')
    assert process.stdout.readline().startswith('[setup] torch: ')
    assert 'still running' in process.stdout.readline()
    os.killpg(process.pid, how)
    said, _ = process.communicate(timeout=20)
    assert ('not finished: run this again' in said) == (how == signal.SIGINT)
    assert setup(folder)[1] == STAGES


def test_mmcv_without_its_operators_is_made_anew_once(folder):
    (folder / 'broken-mmcv').touch()
    setup(folder)
    calls = (folder / 'calls').read_text().splitlines()
    assert '--no-cache-dir --force-reinstall --no-deps' in calls[4]
    assert 'requirements/mmcv.txt' in calls[4]
    assert (calls[3], calls[5]) == ('works', 'works')


def test_of_pip_only_what_takes_long_is_shown(folder):
    said, _ = setup(folder)
    assert said.count('Building wheel for a: still running...\n') == len(STAGES)
    assert 'already satisfied' not in said


def test_two_at_once(folder):
    (folder / 'calls').write_text('')
    both = [start(folder, WAIT='0.2') for _ in range(2)]
    said = sorted((p.communicate(timeout=60)[0] for p in both), key=len)
    assert said[0] == '[setup] .venv is ready\n'
    assert len((folder / 'calls').read_text().splitlines()) == len(STAGES) + 1


def test_no_suitable_python(folder):
    assert './python is not a Python 3.11' in setup(folder, code=1, OLD='1')[0]
    assert not (folder / '.venv').exists()
    (folder / 'python').unlink()
    assert './python is not a Python 3.11' in setup(folder, code=1)[0]


def test_environment_of_another_python_is_kept(folder):
    (folder / '.venv/bin').mkdir(parents=True)
    (folder / 'python').rename(folder / '.venv/bin/python')
    said, _ = setup(folder, code=1, OLD='1')
    assert '.venv/bin/python is not a Python 3.11' in said
    assert 'must be removed first' in said
    assert (folder / '.venv/bin/python').exists()


def test_an_environment_without_stamps_goes_through_pip(folder):
    (folder / '.venv/bin').mkdir(parents=True)
    (folder / 'python').rename(folder / '.venv/bin/python')
    assert setup(folder)[1] == STAGES


def test_a_moved_folder_is_installed_anew(folder):
    setup(folder)
    moved = folder.rename(folder.parent / 'moved')
    assert setup(moved)[1] == ['own']
    assert setup(moved)[1] == []
    assert setup(moved.rename(folder))[1] == ['own']
