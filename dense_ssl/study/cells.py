"""A cell of a study: one command, its folder, and what it left there."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from dense_ssl.errors import UserError
from dense_ssl.files import write_atomically

__all__ = ['Cell', 'digest', 'fingerprint', 'pretty']

RECORD = 'cell.json'  # only folders that hold it are ever emptied
LOG = 'output.log'
#: Ends of logs that are kept with a failure, in lines and characters.
_LINES, _CHARACTERS = 25, 3000


def digest(content: Any) -> str:
    """Of JSON data."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(paths: Iterable[Path]) -> str:
    """Digest of names, sizes and times of change of files.

    Folders are followed down. Files are not read, so that large folders of images take no time,
    and a folder that was moved stays the same.
    """
    found = hashlib.sha256()
    for path in map(Path, paths):
        for file in _files(path) if path.is_dir() else [path]:
            stat = file.stat() if file.exists() else file.lstat()  # a link to nothing
            name = file.name if file == path else os.fspath(file.relative_to(path))
            # names need not be text: any bytes make a file name
            found.update(os.fsencode(f'{name}|{stat.st_size}|{stat.st_mtime_ns}\n'))
    return found.hexdigest()[:16]


def _files(root: Path) -> list[Path]:
    """All below a folder; links are followed, each folder once."""
    files: list[Path] = []
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or folder.endswith('__pycache__'):
            below.clear()
            continue
        seen.add(real)
        files += [Path(folder, name) for name in names]
    return sorted(files)


def pretty(seconds: float) -> str:
    """``'2 h 05 min'``, ``'3 min'``, ``'12 s'``."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f'{seconds:.0f} s'
    return f'{minutes // 60} h {minutes % 60:02} min' if minutes >= 60 else f'{minutes} min'


@dataclass
class Cell:
    """One command whose results are kept with what they depend on.

    Attributes:
        id: Its name, unique in the study.
        folder: Its own; the command writes there, and goes on there with what it finds.
        command: Words of the command.
        inputs: What the results depend on (JSON data). With equal ones finished results are used
            again, others have the cell run anew in an empty folder.
        read: Takes the folder after the command has ended well; the results (JSON data). An
            exception is a failure of the cell.
        needs: Ids of the cells that must be done before.
        about: What else a report wants to know: kind, start, seed, task, labels.
        prior: Seconds that it is expected to take, by a rough measure.
        state: ``to do``, ``running``, ``done``, ``failed``, or ``blocked`` by a failed one.
        seconds: Taken so far, interrupted attempts included.
        job: Of a queue system, by which it is found again.
    """

    id: str
    folder: Path
    command: list[str]
    inputs: dict
    read: Callable[[Path], dict]
    needs: tuple[str, ...] = ()
    about: dict = field(default_factory=dict)
    prior: float = 1.0
    state: str = 'to do'
    results: dict = field(default_factory=dict)
    seconds: float = 0.0
    error: Optional[str] = None
    job: Optional[str] = None
    started: float = 0.0

    @property
    def log(self) -> Path:
        return self.folder / LOG

    def recall(self) -> None:
        """Take over what an earlier study with equal inputs left."""
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return
        if record.get('inputs') != digest(self.inputs):
            return
        self.seconds = record['seconds']
        if record['state'] == 'done':
            self.state, self.results = 'done', record['results']
        elif record['state'] == 'running':
            self.job = record['job']
            if self.log.is_file():  # killed: its last sign of life
                self.seconds += max(0.0, self.log.stat().st_mtime - record['started'])

    def begin(self) -> None:
        """Make the folder ready: kept where the same inputs were begun with, else emptied.

        Raises:
            UserError: It holds what no cell put there.
        """
        path = self.folder / RECORD
        if path.is_file():
            try:
                same = json.loads(path.read_text(encoding='utf-8'))['inputs']
            except (ValueError, KeyError):
                same = None
            if same != digest(self.inputs):
                shutil.rmtree(self.folder)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(
                f'{self.folder} was not made by a study, so it is left alone: move it away, or '
                'choose another --work-dir.'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state, self.started, self.error = 'running', time.time(), None
        self.save()

    def end(self, code: int) -> None:
        """Note how the command ended, and what came out."""
        self.seconds += time.time() - self.started
        self.job = None
        try:
            if code:
                raise UserError(f'exit code {code}; the end of {self.log}:\n{self.log_end()}')
            self.results = self.read(self.folder)
            self.state = 'done'
        except Exception as error:  # whatever is missing or unreadable: the rest goes on
            self.state, self.error = 'failed', str(error) or repr(error)
        self.save()

    def interrupted(self) -> None:
        """Note that it was stopped, to go on later."""
        self.seconds += time.time() - self.started
        self.state, self.started = 'to do', time.time()
        self.save()

    def log_end(self) -> str:
        try:
            text = self.log.read_text(encoding='utf-8', errors='replace')
        except OSError:
            return '(no log)'
        return '\n'.join(text.splitlines()[-_LINES:])[-_CHARACTERS:]

    def save(self) -> None:
        record = dict(
            id=self.id,
            inputs=digest(self.inputs),
            command=self.command,
            state=self.state,
            started=self.started,
            seconds=round(self.seconds, 1),
            job=self.job,
            results=self.results,
            error=self.error,
        )
        write_atomically(self.folder / RECORD, json.dumps(record, indent=1))
