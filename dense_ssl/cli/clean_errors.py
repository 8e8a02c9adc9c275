"""End a tool on one clear message where dense_ssl itself refused the input.

Errors that dense_ssl's own checks raise are written for the user; a traceback
would hide them. Anything else is unexpected and keeps its traceback.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

__all__ = ['clean_errors', 'own_message']

_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep


def _from_worker(text: str) -> Optional[str]:
    """The message of an error of ours that a data loader's worker sent."""
    if 'Original Traceback' not in text:
        return None
    # The last frame, the line of code it stands at, then the error itself.
    found = re.search(
        r'.*^ *File "([^"]+)", line \d+, in [^\n]+\n *raise .*?\n'
        r'[\w.]+: (.*)',
        text,
        re.MULTILINE | re.DOTALL,
    )
    if found is None or not found[1].startswith(_PACKAGE):
        return None
    return found[2].strip()


def own_message(error: BaseException) -> Optional[str]:
    """The message, where dense_ssl raised ``error`` on purpose, else None.

    The chain of causes is searched, since builders wrap what they catch.
    """
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.extract_tb(error.__traceback__)
        if frames and _raised_by_us(frames[-1]):
            # str() of a KeyError is the repr of its message
            quoted = isinstance(error, KeyError) and error.args
            return str(error.args[0] if quoted else error)
        message = _from_worker(str(error))
        if message is not None:
            return message
        error = error.__cause__ or error.__context__
    return None


def _raised_by_us(frame: traceback.FrameSummary) -> bool:
    """Whether the frame is a raise statement in dense_ssl.

    An error that something called from our code raised is a surprise.
    """
    return os.path.realpath(frame.filename).startswith(_PACKAGE) and (frame.line or '').startswith(
        'raise '
    )


@contextlib.contextmanager
def clean_errors() -> Iterator[None]:
    """Turn errors of dense_ssl's own checks into a message and exit code 1."""
    try:
        yield
    except Exception as error:
        message = own_message(error)
        if message is None:
            raise
        rank = os.environ.get('RANK', '0')
        where = '' if rank == '0' else f' (process {rank})'
        sys.stdout.flush()
        print(f'error{where}: {message}', file=sys.stderr, flush=True)
        sys.exit(1)
