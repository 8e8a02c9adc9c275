"""Make the environment in .venv, or complete it. Standard library only.

Each stage is checked and only what is missing is installed, so an interrupted
set-up goes on where it stopped. A stamp over the requirement files marks a
finished environment; without it every installed file is checked.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / 'dense_ssl-setup.json'
LOG = VENV / 'dense_ssl-setup.log'
INSPECT = ROOT / 'tools' / 'inspect_env.py'
WANTED = (3, 11)
PROBE = 'import ensurepip, json, sys, venv; print(json.dumps(sys.version_info[:2]))'

# Stage name, requirement file, what to say, extra pip arguments, and code
# that must run in the finished stage.
STAGES = [
    (
        'torch',
        'torch',
        'torch: a few GB to download, a minute or so',
        [],
        'import torch, torchvision',
    ),
    ('build tools', 'build', 'what building mmcv needs', [], ''),
    (
        'mmcv',
        'mmcv',
        'mmcv with its ops: compiles C++ for about 8 minutes on 2 cores '
        "(seconds when pip's cache has it)",
        ['--no-build-isolation', '-v'],
        'import torch; from mmcv.ops import nms',
    ),
    (
        'OpenMMLab',
        'mmlab',
        'mmengine, mmpretrain, mmdet, mmseg',
        [],
        'import mmengine, mmpretrain, mmdet, mmseg',
    ),
    (
        'tests and logs',
        'tests optional tensorboard runtime',
        'pytest, hypothesis, tensorboard',
        [],
        'import pytest, hypothesis',
    ),
]


class SetupError(Exception):
    pass


def say(text):
    print(f'[setup] {text}', flush=True)


def requirement_files(names):
    return [ROOT / 'requirements' / f'{name}.txt' for name in names.split()]


def key():
    """Changes when anything does that the environment is made from."""
    digest = hashlib.sha256(str(VENV).encode())
    files = [ROOT / 'setup.py', ROOT / 'dense_ssl' / 'version.py', INSPECT]
    files += [f for stage in STAGES for f in requirement_files(stage[1])]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def output(command, **kwargs):
    """Standard output of ``command``, or None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd='/', **kwargs)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_python():
    """A Python of the wanted version that can make environments."""
    name = 'python{}.{}'.format(*WANTED)
    folders = os.environ.get('PATH', os.defpath).split(os.pathsep)
    candidates = [os.environ.get('PYTHON', ''), sys.executable]
    candidates += [os.path.join(folder, name) for folder in folders]
    for candidate in filter(None, candidates):
        if output([candidate, '-c', PROBE]) == json.dumps(WANTED):
            return candidate
    raise SetupError(
        f'no usable {name} found on PATH (it must come with its venv and '
        'ensurepip modules; on Debian and Ubuntu those are in the package '
        f'{name}-venv). Install it, or name one: make setup PYTHON=...'
    )


def make_venv():
    version = output([PYTHON, '-c', 'import sys; print(*sys.version_info[:2])'])
    if version is not None:
        if version != '{} {}'.format(*WANTED):
            raise SetupError(
                f'{VENV.name} holds Python {version.replace(" ", ".")}, but '
                f'{WANTED[0]}.{WANTED[1]} is needed. Remove {VENV.name} and '
                'run this again.'
            )
        if output([PYTHON, '-m', 'pip', '--version']) is None:
            say('pip is missing from the environment: adding it')
            run_logged([PYTHON, '-m', 'ensurepip', '--upgrade'], 'pip')
        return
    if VENV.exists() and any(VENV.iterdir()) and not (VENV / 'pyvenv.cfg').exists():
        raise SetupError(
            f'{VENV.name} exists but is no Python environment. Move it away and run this again.'
        )
    python = find_python()
    say(f'making {VENV.name} with {python}')
    done = subprocess.run([python, '-m', 'venv', '--clear', str(VENV)])
    if done.returncode:
        raise SetupError(f'{python} could not make {VENV.name}, see above')


def inspect(names='', thorough=False):
    """What is missing or damaged among the requirements, as two lists."""
    files = [str(f) for f in requirement_files(names)]
    text = output([PYTHON, '-I', INSPECT] + ['--files'] * thorough + files)
    if text is None:
        return [f'everything in {names}'], []
    found = json.loads(text)
    return found['missing'], found['damaged']


def progress(log, start, offset):
    """Elapsed time, and how many files of how many are compiled."""
    minutes, seconds = divmod(int(time.time() - start), 60)
    text = f'{minutes}:{seconds:02d}'
    log.seek(offset)
    steps = re.findall(r'^\s*\[(\d+)/(\d+)\]', log.read(), re.MULTILINE)
    if steps:
        text += ' compiled {} of {} files'.format(*steps[-1])
    return text


def run_logged(command, name):
    """Run ``command`` into the log, showing that it is alive."""
    env = dict(os.environ)
    env.setdefault('MAX_JOBS', str(os.cpu_count() or 1))
    tty, start = sys.stdout.isatty(), time.time()
    with open(LOG, 'a') as out, open(LOG, errors='replace') as log:
        out.write(f'\n$ {" ".join(map(str, command))}\n')
        out.flush()
        offset = out.tell()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=env)
        shown = start
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.time() - shown > (1 if tty else 20):
                    shown = time.time()
                    line = f'[setup] {name}: {progress(log, start, offset)}'
                    print('\r' + line if tty else line, end='' if tty else '\n', flush=True)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            if tty and shown > start:
                print()
        if process.returncode:
            log.seek(offset)
            tail = ''.join(log.readlines()[-25:])
            raise SetupError(
                f'{name} failed. The log ends:\n{tail}\nThe '
                f'whole log: {LOG.relative_to(ROOT)}. Run this '
                'again to go on from here.'
            )


def pip(name, *arguments):
    run_logged(
        [
            PYTHON,
            '-m',
            'pip',
            '--disable-pip-version-check',
            'install',
            '--progress-bar',
            'off',
            *arguments,
        ],
        name,
    )


def works(code):
    # -I: the repository's own folders must not stand in for what is installed
    return not code or output([PYTHON, '-I', '-c', code]) is not None


def install_stage(stage):
    name, files, words, arguments, code = stage
    missing, _ = inspect(files)
    if missing or not works(code):
        say(f'{name}: installing {words}')
        lines = [x for f in requirement_files(files) for x in ('-r', str(f))]
        # the earlier pins hold for what the later stages pull in
        lines += ['-c', str(requirement_files('torch')[0])]
        if missing:
            pip(name, *arguments, *lines)
        if not works(code):
            # e.g. a wheel of mmcv cached without its ops
            say(f'{name}: `{code}` fails, so it is installed anew')
            pip(name, '--force-reinstall', '--no-deps', '--no-cache-dir', *arguments, *lines)
        missing, _ = inspect(files)
        if missing or not works(code):
            done = subprocess.run(
                [PYTHON, '-I', '-c', code or 'pass'], capture_output=True, text=True
            )
            raise SetupError(
                f'{name} is installed but does not work; '
                f'missing: {missing}; `{code}` says: '
                f'{done.stderr.strip()[-800:]}'
            )
    say(f'{name}: ready')


def mend_damaged():
    """Reinstall what an interrupted installation left incomplete."""
    _, damaged = inspect(thorough=True)
    for requirement, folder in damaged:
        say(f'{requirement or folder} is incomplete: installing it anew')
        if folder:  # pip refuses to uninstall without a list of files
            shutil.rmtree(folder)
        if requirement:
            pip(requirement, '--force-reinstall', '--no-deps', '--no-build-isolation', requirement)


def check_dependencies():
    """Raise where `pip check` finds something it cannot be given."""
    check = [PYTHON, '-m', 'pip', 'check']
    if output(check) is None:
        say('completing what the installed packages depend on')
        files = [f for stage in STAGES for f in requirement_files(stage[1])]
        pip('dependencies', '--no-build-isolation', *[x for f in files for x in ('-r', str(f))])
    done = subprocess.run(check, capture_output=True, text=True)
    if done.returncode:
        raise SetupError(f'pip check: {done.stdout}{done.stderr}')


def own_package_installed():
    origin = output(
        [
            PYTHON,
            '-I',
            '-c',
            'from importlib.util import find_spec as f;print(f("dense_ssl").origin)',
        ]
    )
    mim = ROOT / 'dense_ssl' / '.mim' / 'model-index.yml'
    return origin == str(ROOT / 'dense_ssl' / '__init__.py') and mim.exists()


def finished():
    try:
        stamped = json.loads(STAMP.read_text())['key']
    except (OSError, ValueError, KeyError, TypeError):
        return False
    names = ' '.join(stage[1] for stage in STAGES)
    return stamped == key() and inspect(names) == ([], []) and own_package_installed()


def main():
    start = time.time()
    # Two set-ups at once would trip over each other; this file is the lock.
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if finished():
            say(f'{VENV.name} is ready')
            return
        make_venv()
        STAMP.unlink(missing_ok=True)
        mend_damaged()
        for stage in STAGES:
            install_stage(stage)
        say('dense_ssl: installing this folder, editable')
        pip('dense_ssl', '--no-deps', '--no-build-isolation', '-e', str(ROOT))
        check_dependencies()
        STAMP.write_text(json.dumps(dict(key=key())))
        say(f'done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    try:
        main()
    except SetupError as error:
        sys.exit(f'[setup] error: {error}')
    except KeyboardInterrupt:
        sys.exit('\n[setup] stopped; run it again to go on from here')
