"""Images out of one file, a pack, in place of a folder.

A pack, written by ``tools/convert/pack_images.py``, is an ordinary tar file
of a folder's images, with an index in it that tells where each begins. An
image in a pack has the path ``<pack>.tar/<name>``, which everything that reads
images takes.

Parts, all of them members of the tar file: ``.dense_ssl-pack``, the images,
``.dense_ssl-index`` (an npz file: ``names``, sorted and joined, ``ends`` of
the names in that, ``offsets`` and ``sizes`` of the images in the pack) and
``.dense_ssl-end``, which is there if all the rest is.
"""

import os
import os.path as osp
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Optional, Union

import numpy as np

from dense_ssl.errors import MissingFile, UserError

from .image_listing import say_found

__all__ = ['SUFFIX', 'Pack', 'is_pack', 'list_pack', 'open_pack', 'read_packed', 'split_packed']

SUFFIX = '.tar'
BEGIN, INDEX, END = '.dense_ssl-pack', '.dense_ssl-index', '.dense_ssl-end'
VERSION = 1
# Content of END: version, where the index's member begins, its size.
END_LINE = 'dense_ssl pack {} index {} {}'
TAIL = 10_240 + 1024  # tar fills up to 10 240 bytes


class Pack:
    """An open pack; its arrays take 24 bytes an image and its name.

    Args:
        path (str): The file.

    Raises:
        UserError: It is no pack, is not complete or of another version.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # Read by position only, so that forked processes may share it.
        self.file = open(path, 'rb', buffering=0)
        check_begin(self.read(0, 512), path)
        size = os.fstat(self.file.fileno()).st_size
        end = find_end(self.read(max(0, size - TAIL), TAIL))
        if end is None:
            raise UserError(
                f'the pack {path} is not complete: run '
                'tools/convert/pack_images.py again with the same folder, it '
                'goes on where it stopped'
            )
        version, self.index_start, index_size = end
        if version != VERSION:
            raise UserError(
                f'{path} is a pack of version {version}, this code reads '
                f'version {VERSION}: pack the images again'
            )
        with np.load(BytesIO(self.read(self.index_start + 512, index_size))) as index:
            self.names = index['names'].tobytes()
            # array gives out single numbers much faster than numpy does
            self.ends, self.offsets, self.sizes = (
                array('q', index[key].tobytes()) for key in ('ends', 'offsets', 'sizes')
            )

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, i: int) -> bytes:
        return self.names[self.ends[i - 1] if i else 0 : self.ends[i]]

    def place(self, name: str) -> tuple[int, int]:
        """Where a file begins, and its size.

        Raises:
            MissingFile: The pack holds no file of that name.
        """
        wanted = os.fsencode(name)
        i = bisect_left(range(len(self)), wanted, key=self.name)
        if i == len(self) or self.name(i) != wanted:
            raise MissingFile(f'{self.path} holds no {name}')
        return self.offsets[i], self.sizes[i]

    def read(self, start: int, size: int) -> bytearray:
        content = bytearray(size)
        view, done = memoryview(content), 0
        while done < size:  # the system may give less than asked for
            got = os.preadv(self.file.fileno(), [view[done:]], start + done)
            if not got:
                break
            done += got
        view.release()
        del content[done:]
        return content


# By path, opened once a process.
_opened: dict[str, Pack] = {}


def check_begin(head: Union[bytes, bytearray], path: str) -> None:
    """Raise ValueError unless ``head`` is how a pack begins."""
    if bytes(head[:100]).rstrip(b'\0') != BEGIN.encode():
        raise UserError(
            f'{path} is not a pack of images: it was not written by '
            'tools/convert/pack_images.py. Unpack it, and pack the folder with that'
        )


def find_end(tail: Union[bytes, bytearray]) -> Optional[tuple[int, int, int]]:
    """Numbers of END_LINE, None if it is not there."""
    pattern = END_LINE.replace('{}', r'(\d+)').encode()
    found = re.findall(pattern, tail)
    if not found:
        return None
    version, start, size = map(int, found[-1])
    return version, start, size


def is_pack(path: str) -> bool:
    """Whether ``path`` is a file named as a pack is."""
    return path.endswith(SUFFIX) and osp.isfile(path)


def split_packed(path: str) -> Optional[tuple[str, str]]:
    """The pack and the name in it, None for the path of an ordinary file."""
    start = path.find(SUFFIX + os.sep)
    while start >= 0:
        end = start + len(SUFFIX)
        if path[:end] in _opened or is_pack(path[:end]):
            return path[:end], path[end + 1 :]
        start = path.find(SUFFIX + os.sep, end)
    return None


def open_pack(path: str) -> Pack:
    """The pack as it now is, for the reads that follow.

    Raises:
        UserError: See :class:`Pack`.
    """
    pack = _opened[path] = Pack(path)
    return pack


def list_pack(path: str, extensions: Sequence[str]) -> list[str]:
    """Paths of a pack's images, in the order of the folder it was made of.

    Raises:
        MissingFile: No name ends in one of ``extensions``.
        UserError: See :class:`Pack`.
    """
    wanted = tuple(extension.lower() for extension in extensions)
    pack = open_pack(path)
    names = [os.fsdecode(pack.name(i)) for i in range(len(pack))]
    images = [name for name in names if name.lower().endswith(wanted)]
    if not images:
        raise MissingFile(
            f'none of the {len(names)} files in the pack {path} ends in '
            f'{", ".join(wanted)} (extensions)'
        )
    say_found(path, images, +Counter(others=len(names) - len(images)))
    return [osp.join(path, name) for name in sorted(images)]


def read_packed(path: str, name: str) -> bytearray:
    """The bytes of one file of a pack.

    Raises:
        MissingFile: The pack holds no file of that name.
        UserError: See :class:`Pack`.
    """
    pack = _opened.get(path) or open_pack(path)
    try:
        return pack.read(*pack.place(name))
    except MissingFile:
        raise
    except OSError:  # such as ESTALE, which lasts until it is opened anew
        del _opened[path]
        raise
