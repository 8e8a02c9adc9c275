"""The folder of a run: who writes there, and which of its checkpoints is the newest good one."""

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from mmengine.logging import print_log

from dense_ssl.errors import TransferError, UserError
from dense_ssl.transfer.checkpoint import read_file

__all__ = ['checkpoints_in', 'claim', 'make_room', 'newest_readable', 'readable']

_NAME = re.compile(r'(epoch|iter)_(\d+)\.pth|stopped\.pth')
POINTER = 'last_checkpoint'
STOPPED = 'stopped.pth'  # on a signal, or by --save-every, until the next regular one
_LOCK = '.run.lock'


def _pointed(folder: Path) -> Optional[Path]:
    """What ``last_checkpoint`` names: here first, for the folder may be a copy."""
    try:
        named = Path((folder / POINTER).read_text().replace('\0', '').strip())
        here = folder / named.name
        return named if named.is_file() and not here.is_file() else here if named.name else None
    except (OSError, ValueError):  # absent, or no path
        return None


def checkpoints_in(folder: str) -> list[Path]:
    """Checkpoints to go on from, newest first, whether readable or not.

    Those of one kind go by their number, different kinds by the time they were written; what
    ``last_checkpoint`` names stands before all that are not newer in both.
    """
    root = Path(folder)
    found = {path: _NAME.fullmatch(path.name) for path in root.glob('*.pth')}
    names = {path: name for path, name in found.items() if name and path.is_file()}
    age = {path: path.stat().st_mtime for path in names}
    one_kind = len({name.group(1) for name in names.values()}) == 1 and all(
        name.group(2) for name in names.values()
    )
    number = {path: int(name.group(2) or 0) for path, name in names.items()}
    paths = sorted(names, key=(number if one_kind else age).__getitem__, reverse=True)
    pointed = _pointed(root)
    if pointed is None:
        return paths
    if pointed in names:
        paths = [
            path
            for path in paths
            if age[path] > age[pointed] and (not one_kind or number[path] > number[pointed])
        ] + [pointed]
        return paths + [
            path for path in sorted(names, key=age.__getitem__)[::-1] if path not in paths
        ]
    return paths or [pointed] * pointed.is_file()  # CheckpointHook's out_dir


def readable(path: Path) -> bool:
    """Whether a checkpoint can be read to its last byte."""
    try:
        read_file(path)
    except TransferError:
        return False
    return True


def newest_readable(folder: str) -> Optional[str]:
    """The newest checkpoint that can be read; None where the folder has none at all.

    Every byte of it is verified. The log says which were passed over, and why.

    Raises:
        TransferError: There are some, or ``last_checkpoint`` names one, and none can be read.
    """
    reasons = []
    for path in checkpoints_in(folder):
        try:
            read_file(path)
        except TransferError as error:
            reasons.append(str(error))
            print_log(f'passed over: {error}', 'current', 30)
            continue
        pointed = _pointed(Path(folder))
        if pointed is None or pointed.resolve() != path.resolve():
            print_log(
                f'--resume takes {path}, the newest readable checkpoint; '
                f'{Path(folder) / POINTER} {"names " + str(pointed) if pointed else "is unusable"}',
                'current',
                30,
            )
        return str(path)
    pointer = Path(folder) / POINTER
    if pointer.exists() and not reasons:
        reasons = [f'{pointer} names {_pointed(Path(folder)) or "nothing"}, which is not there']
    if reasons:
        raise TransferError(
            f'--resume: no checkpoint in {folder} can be read. '
            + '; '.join(reasons)
            + '. Name a good one (--resume FILE), or start anew (--overwrite).'
        )
    return None


def make_room(folder: str, overwrite: Optional[bool]) -> None:
    """Before a run from the start in a folder that may hold an earlier one.

    Args:
        folder: Its checkpoints are found by their names.
        overwrite: True takes them away, so that nobody goes on from them by mistake; False
            refuses to start; None leaves them until files of the same names replace them.

    Raises:
        UserError: There are some, and ``overwrite`` is False.
    """
    found = checkpoints_in(folder)
    if found and overwrite is False:
        raise UserError(
            f'{folder} holds a run already, its last checkpoint is {found[0]}: say --resume to go '
            'on with it, --overwrite to take its checkpoints away and start anew, or give another '
            '--work-dir.'
        )
    if overwrite:
        for path in [*found, Path(folder) / POINTER]:
            if path.parent.resolve() == Path(folder).resolve():
                path.unlink(missing_ok=True)


@contextmanager
def claim(folder: str) -> Iterator[None]:
    """Hold the folder as the only run.

    A record lock: it ends with the process, however that ends, and is not handed on to the
    loader's workers, which may outlive it by seconds.

    Raises:
        UserError: Another run holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / _LOCK, 'a+') as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                raise UserError(
                    f'another run writes into {folder} ({file.read().strip()}): wait for its '
                    'end, or give another --work-dir.'
                ) from None
            print_log(f'{folder} cannot be locked against a second run: {error}', 'current', 30)
        else:
            file.truncate(0)
            file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
            file.flush()
            for part in Path(folder).glob('.*.part'):  # of a run that was killed while it wrote
                part.unlink()
        yield
