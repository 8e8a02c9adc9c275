"""End a tool on one clear message where the input cannot be used."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from dense_ssl.errors import UserError

__all__ = ['clean_errors', 'user_error']


def user_error(error: Optional[BaseException]) -> Optional[UserError]:
    """The UserError among ``error`` and its causes: frameworks wrap what they catch."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def clean_errors() -> Iterator[None]:
    """Turn a UserError into its message and exit code 1; others keep their traceback."""
    try:
        yield
    except Exception as error:
        ours = user_error(error)
        if ours is None:
            raise
        rank = os.environ.get('RANK', '0')
        where = '' if rank == '0' else f' (process {rank})'
        sys.stdout.flush()
        print(f'error{where}: {ours}', file=sys.stderr, flush=True)
        sys.exit(1)
