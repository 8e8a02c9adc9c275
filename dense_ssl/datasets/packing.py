"""Write a folder of images into one file, a pack."""

import fcntl
import os
import os.path as osp
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Callable, Union

import numpy as np

from dense_ssl.errors import UserError

from .band_reading import EXTENSION as BANDS
from .band_reading import check_bands
from .image_listing import EXTENSIONS, find_images
from .image_reading import UnreadableImage
from .packed import BEGIN, END, END_LINE, INDEX, SUFFIX, TAIL, VERSION, Pack, check_begin, find_end

__all__ = ['pack_images']

BATCH = 64  # files between two times that all is on disk for certain
Places = dict[str, tuple[int, int]]  # name: start and size, bytes


def pack_images(
    folder: str,
    out: str,
    extensions: Sequence[str] = EXTENSIONS,
    max_unreadable_fraction: float = 0.0,
    report: Callable[[int, int, int], None] = lambda *done: None,
    channels: int = 3,
) -> list[str]:
    """Pack the images of a folder; go on if ``out`` holds some of them.

    Files are stored as they are. Those that cannot be read are left out, if
    they may be. Killed at any time, the pack can be continued.

    Args:
        folder (str): The folder, nested or flat.
        out (str): The pack, a name that ends in ``.tar``.
        extensions (Sequence[str]): Ends of the names of images, in any case.
        max_unreadable_fraction (float): Share of the files that may be
            unreadable, in [0, 1). Defaults to 0: none.
        report (Callable): Called with the number of files done in this run,
            the number there is to do in it, and the bytes done.
        channels (int): Bands of the images.

    Returns:
        list[str]: Messages on the files that were left out.

    Raises:
        UserError: Another process writes the pack.
        MissingFile, UserError: See
            :func:`~dense_ssl.datasets.image_listing.find_images`.
        UnreadableImage: More files are unreadable than allowed.
        UserError: ``out`` was not made of this folder as it is now, or is
            no pack, or is not named ``*.tar``.
    """
    if not 0 <= max_unreadable_fraction < 1:
        raise UserError(
            f'max_unreadable_fraction must lie in [0, 1), got {max_unreadable_fraction}'
        )
    if not out.endswith(SUFFIX) or osp.isdir(out):
        raise UserError(f'{out}: a pack is a file named *{SUFFIX}')
    folder = osp.normpath(folder)
    extensions = extensions if channels == 3 else (*extensions, BANDS)
    names = [osp.relpath(path, folder) for path in find_images(folder, extensions)]
    with open(out, 'r+b' if osp.exists(out) else 'w+b') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f'another process writes {out}') from error
        places, end, complete = _state(file, out)
        _check_same(folder, names, places, out)
        todo = [name for name in names if name not in places]
        if complete and not todo:
            return []
        file.seek(end)
        file.truncate()
        with tarfile.open(fileobj=file, mode='w', format=tarfile.PAX_FORMAT) as tar:
            if end == 0:
                _put(tar, BEGIN, f'version {VERSION}\n'.encode())
            unreadable = _put_files(
                tar,
                file,
                folder,
                todo,
                places,
                report,
                max_unreadable_fraction * len(names),
                channels,
            )
            _put_index(tar, places)
        file.flush()
        os.fsync(file.fileno())
    return [str(error) for error in unreadable]


def _state(file: BinaryIO, out: str) -> tuple[Places, int, bool]:
    """What the pack holds, where to write on, whether it is complete."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return {}, 0, False
    file.seek(0)
    check_begin(file.read(512), out)
    file.seek(max(0, size - TAIL))
    if find_end(file.read()) is not None:
        pack = Pack(out)
        return (
            {os.fsdecode(pack.name(i)): (pack.offsets[i], pack.sizes[i]) for i in range(len(pack))},
            pack.index_start,
            True,
        )
    members = []
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode='r:') as tar:
            for member in tar:
                members.append(member)
    except tarfile.ReadError:  # cut off
        pass
    # Of the last ones it is not certain that they are on disk: a computer
    # that stopped may have kept their length and not their content.
    end, images = 0, [m for m in members if m.name not in (BEGIN, INDEX, END)]
    kept = images[: max(0, len(images) - BATCH)]
    if len(images) > len(kept):
        end = images[len(kept)].offset
    return {m.name: (m.offset_data, m.size) for m in kept}, (end if kept else 0), False


def _check_same(folder: str, names: list[str], places: Places, out: str) -> None:
    """Refuse to continue with other files than those begun with."""
    gone = set(places).difference(names)
    changed = [
        name
        for name in names
        if name in places and osp.getsize(osp.join(folder, name)) != places[name][1]
    ]
    for files, what in ((gone, 'is not in'), (changed, 'is different in')):
        if files:
            raise UserError(
                f'{out} holds {len(files)} images that this folder has not: '
                f'{min(files)} {what} {folder}. Name another pack, or delete '
                'this one'
            )


def _put_files(
    tar: tarfile.TarFile,
    file: BinaryIO,
    folder: str,
    names: list[str],
    places: Places,
    report: Callable,
    allowed: float,
    channels: int,
) -> list[UnreadableImage]:
    """Append files and note their places; returns what was left out."""
    unreadable, size = [], 0
    with ThreadPoolExecutor(8) as threads:
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            contents = threads.map(
                partial(_read, channels=channels), [osp.join(folder, name) for name in batch]
            )
            for name, content in zip(batch, contents):
                if isinstance(content, UnreadableImage):
                    unreadable.append(content)
                    _check_number(unreadable, allowed)
                else:
                    places[name] = _put(tar, name, content)
                    size += len(content)
            file.flush()
            os.fsync(file.fileno())
            report(start + len(batch), len(names), size)
    return unreadable


def _read(path: str, channels: int) -> Union[bytes, UnreadableImage]:
    try:
        check_bands(path, channels)
        return Path(path).read_bytes()
    except UnreadableImage as error:
        return error


def _check_number(unreadable: list, allowed: float) -> None:
    if len(unreadable) <= allowed:
        return
    if allowed == 0:
        raise UnreadableImage(
            f'{unreadable[0]}. Repair or remove the file, or set '
            '--max-unreadable-fraction (e.g. 0.001) to leave such files out'
        )
    raise UnreadableImage(
        f'{unreadable[-1]}. That makes {len(unreadable)} files unreadable, '
        f'more than max_unreadable_fraction allows ({allowed:g})'
    )


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> tuple[int, int]:
    """Append one file; returns where its content begins, and its size."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, BytesIO(content))
    blocks = -(-len(content) // tarfile.BLOCKSIZE)
    return tar.offset - blocks * tarfile.BLOCKSIZE, len(content)


def _put_index(tar: tarfile.TarFile, places: Places) -> None:
    found = sorted((os.fsencode(name), *place) for name, place in places.items())
    index = BytesIO()
    np.savez(
        index,
        names=np.frombuffer(b''.join(f[0] for f in found), np.uint8),
        ends=np.cumsum([len(f[0]) for f in found], dtype=np.int64),
        offsets=np.array([f[1] for f in found], np.int64),
        sizes=np.array([f[2] for f in found], np.int64),
    )
    begin = tar.offset
    start, size = _put(tar, INDEX, index.getvalue())
    assert start == begin + tarfile.BLOCKSIZE
    _put(tar, END, END_LINE.format(VERSION, begin, size).encode())
