"""Stages of a job: run once, shown while they run, reused afterwards."""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

__all__ = ['StageError', 'Stage', 'run_command', 'condense', 'fingerprint', 'empty_folder']

STAMP = 'stage.json'
MARKER = '.dense-ssl-stage'  # only folders that hold it are ever emptied


class StageError(RuntimeError):
    """A stage failed; the message says which, and where its log is."""


def fingerprint(paths: Sequence[Path]) -> str:
    """Digest of names, sizes and times of change of files.

    Folders are followed down; files are not read, so that large folders of
    images take no time.
    """
    digest = hashlib.sha256()
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.rglob('*') if p.is_file())
        for file in files:
            if '__pycache__' in file.parts:
                continue
            stat = file.stat()
            # names need not be text: any bytes make a file name
            digest.update(os.fsencode(f'{file}|{stat.st_size}|{stat.st_mtime_ns}\n'))
    return digest.hexdigest()[:16]


def empty_folder(folder: Path) -> None:
    """Make a folder, or empty one that this function made earlier.

    Raises:
        StageError: If there is something that it did not make.
    """
    marker = folder / MARKER
    if (
        os.path.lexists(folder)
        and not marker.is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise StageError(
            f'{folder} exists and was not made by the quick start, so it is '
            'left alone: choose another --work-dir, or move it away'
        )
    folder.mkdir(parents=True, exist_ok=True)
    # The marker comes first and stays, so that an interrupted clean-up is
    # not taken for somebody else's folder.
    marker.touch()
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != marker:
            path.unlink()


class Stage:
    """A part of the job whose results are kept with what they depend on.

    Args:
        name (str): Name of the stage and of its folder.
        work_dir (Path): Folder of the whole job.
        inputs (dict): What the results depend on (JSON data). Equal inputs
            mean that finished results are used again.
        say (callable): Takes lines for the user.
    """

    def __init__(
        self, name: str, work_dir: Path, inputs: dict, say: Callable[[str], None] = print
    ) -> None:
        self.name = name
        self.folder = Path(work_dir) / name
        self.log = Path(work_dir) / 'logs' / f'{name}.log'
        self.inputs = json.loads(json.dumps(inputs))
        self.say = say

    def finished(self) -> Optional[dict]:
        """The stamp of an earlier run with equal inputs, or None."""
        try:
            stamp = json.loads((self.folder / STAMP).read_text())
        except (OSError, ValueError):
            return None
        if stamp.get('inputs') != self.inputs:
            return None
        return stamp

    def run(self, work: Callable[[Path], dict], fresh: bool = False) -> dict:
        """Results of ``work``, from an earlier run if that still holds.

        An unfinished or outdated stage starts again in an empty folder.

        Args:
            work (callable): Takes the folder of the stage, returns its
                results (JSON data). Files it names in ``results['files']``
                must still exist for the stage to be reused.
            fresh (bool): Run in any case.

        Returns:
            dict: The results, with ``seconds`` and ``reused``.

        Raises:
            StageError: If the folder holds what no stage put there.
        """
        stamp = None if fresh else self.finished()
        if stamp and all(Path(f).exists() for f in stamp['results'].get('files', [])):
            self.say(f'[{self.name}] done before, reused ({stamp["seconds"]:.0f} s then)')
            return dict(stamp['results'], seconds=stamp['seconds'], reused=True)
        empty_folder(self.folder)
        start, cpu = time.perf_counter(), _cpu_seconds()
        results = work(self.folder)
        seconds = round(time.perf_counter() - start, 1)
        part = self.folder / (STAMP + '.part')
        part.write_text(
            json.dumps(
                dict(
                    inputs=self.inputs,
                    results=results,
                    seconds=seconds,
                    cpu_seconds=round(_cpu_seconds() - cpu, 1),
                ),
                indent=1,
            )
        )
        os.replace(part, self.folder / STAMP)
        self.say(f'[{self.name}] done in {seconds:.0f} s')
        return dict(results, seconds=seconds, reused=False)


def _cpu_seconds() -> float:
    """CPU time of this process and its finished children."""
    times = os.times()
    return sum(times[:4])


_TRAIN = re.compile(r'(Epoch|Iter)\(train\)\s*(\[.*?\](?:\[.*?\])?)')
_VAL = re.compile(r'(?:Epoch|Iter)\(val\)\s*\[.*?\]\s+(?=.*(mAP|mIoU))')
_PREFIX = re.compile(r'^\S+ \S+ - (\S+) - (\w+) - ')


def condense(line: str) -> Optional[str]:
    """What a line of mmengine's log tells a user, or None if nothing."""
    prefix = _PREFIX.match(line)
    where = _TRAIN.search(line)
    if where:
        parts = [f'{where[1].lower()} {where[2].replace(" ", "")}']
        for key in ('loss', 'eta'):
            value = re.search(rf'(?<![\w]){key}: (\S+)', line)
            if value:
                parts.append(f'{key} {value[1]}')
        return '  '.join(parts)
    if _VAL.search(line):
        scores = re.findall(r'(\S*(?:mAP|mIoU|aAcc)): (\S+)', line)
        return 'validation  ' + '  '.join(f'{k} {v}' for k, v in scores)
    if prefix and prefix[2] in ('ERROR', 'CRITICAL'):
        return line[prefix.end() :].strip()
    return None


def run_command(
    name: str,
    command: list[str],
    log: Path,
    env: dict[str, str],
    cwd: Path,
    say: Callable[[str], None] = print,
    every: float = 2.0,
) -> None:
    """Run a command, its whole output into ``log``, the gist to the user.

    Args:
        name (str): Name of the stage, put before each line.
        command (list[str]): The command.
        log (Path): File for the complete output.
        env (dict): Variables set in addition to the present ones.
        cwd (Path): Folder to run in.
        say (callable): Takes lines for the user.
        every (float): Least seconds between two progress lines.

    Raises:
        StageError: If the command fails; the end of its log is shown.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail, last = deque(maxlen=25), 0.0
    say(f'[{name}] starting; complete log in {log}')
    with log.open('w', encoding='utf-8', errors='backslashreplace') as file:
        file.write(shlex.join(command) + '\n')
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **env, 'PYTHONUNBUFFERED': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
        )
        try:
            for line in child.stdout:
                file.write(line)
                tail.append(line.rstrip())
                gist = condense(line)
                now = time.monotonic()
                if gist and (now - last >= every or 'validation' in gist):
                    say(f'[{name}] {gist}')
                    last = now
            code = child.wait()
        except BaseException:
            # the command may have children of its own (torchrun)
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
    if code:
        say('\n'.join(f'    {line}' for line in tail))
        raise StageError(
            f'[{name}] failed with exit code {code}; the end of '
            f'its log is above, the whole in {log}'
        )


def python() -> str:
    """The interpreter that runs this, for child processes."""
    return sys.executable
