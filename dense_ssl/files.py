"""Writing files that are there as a whole or not at all."""

import os
import uuid
from pathlib import Path
from typing import BinaryIO, Callable, Union

__all__ = ['write_atomically']


def write_atomically(
    path: Union[str, Path], content: Union[str, bytes, Callable[[BinaryIO], object]]
) -> None:
    """Write or replace a file; cut off in between, the old one stays.

    Several processes may write the same file: the last one wins.

    Args:
        path: In a folder that exists. Of a link, the file behind it is replaced.
        content: Text (written as UTF-8, line ends as they are), bytes, or what writes them into
            the open file that it is given.
    """
    path = Path(os.path.realpath(path))
    # A device such as /dev/null is written to, never replaced.
    plain = path.is_file() or not path.exists()
    part = path.with_name(f'.{uuid.uuid4().hex}.part') if plain else path
    try:
        with open(part, 'wb') as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            if plain:
                file.flush()
                os.fsync(file.fileno())
        if plain:
            os.replace(part, path)
    except BaseException:
        if plain:
            part.unlink(missing_ok=True)
        raise
