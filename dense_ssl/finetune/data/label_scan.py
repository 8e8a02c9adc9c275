"""What label maps hold, and how large images are: every file, in threads, each once."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dense_ssl.datasets.band_reading import reads_as_rgb
from dense_ssl.datasets.image_reading import check_image
from dense_ssl.datasets.survey import check_images, name_unreadable
from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically

__all__ = ['image_size', 'image_sizes', 'map_content', 'scan']

_ORIENTATION = 0x0112
#: Clocks of file systems tick every 2 seconds at worst: a file younger than that when it was read
#: may be written once more without its times showing it.
_YOUNG = 3.0


def map_content(path: str) -> dict:
    """Width and height of a label map, and how many pixels have each value.

    Raises:
        TransferError: It is not one channel, or no image.
    """
    check_image(path)
    with Image.open(path) as image:
        try:
            if image.mode in ('L', 'P'):
                counts = image.histogram()
                values = range(len(counts))
            else:
                labels = np.asarray(image)
                labels = labels.astype(np.uint8) if labels.dtype == bool else labels
                values, counts = (x.tolist() for x in np.unique(labels, return_counts=True))
        except (OSError, SyntaxError, ValueError) as error:
            raise TransferError(f'cannot read the label map {path}: {error}') from error
        if len(image.getbands()) > 1:
            raise TransferError(
                f'{path} is no label map: one channel of class indices is needed, not colours.'
            )
    return dict(size=image.size, values={str(v): n for v, n in zip(values, counts) if n})


def image_size(path: str) -> dict:
    """Width and height of the upright image, and how EXIF turns or mirrors it (1: not at all)."""
    check_image(path)
    with Image.open(path) as image:
        turn = image.getexif().get(_ORIENTATION, 1)
        size = image.size
        if image.format == 'TIFF':  # turned by Pillow itself, when loaded at the latest
            image.load()
            size = image.size
        elif turn in (5, 6, 7, 8):
            size = size[::-1]
    return dict(size=size, turn=turn if turn in range(2, 9) else 1)


def image_sizes(paths: Sequence[Path], channels: int = 3) -> list[dict]:
    """:func:`image_size` of every file, as :func:`scan` gives it; of any number of bands.

    Raises:
        TransferError: Files cannot be read, or have another number of bands; names them.
    """
    if all(reads_as_rgb(str(path), channels) for path in paths):
        return scan(paths, image_size)
    found = check_images([str(path) for path in paths], channels)
    if fault := name_unreadable(found):
        raise TransferError(fault)
    return [dict(size=list(size), turn=1) for size in found if isinstance(size, tuple)]


def scan(paths: Sequence[Path], look: Callable[[str], dict]) -> list[dict]:
    """``look`` at every file, in threads; what is known of an unchanged file is not read again.

    A file is unchanged if path, size, inode and its times of content and of
    status are. Results are kept in the user's cache folder, a file for each
    folder of ``paths``; where that cannot be written, nothing is kept.
    """
    root = os.path.commonpath([os.path.abspath(path.parent) for path in paths])
    name = hashlib.sha256(f'1 {look.__name__} {root}'.encode(errors='surrogatepass')).hexdigest()
    folder = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    cache = Path(folder) / 'dense_ssl' / f'{name[:32]}.json'
    try:
        known = dict(json.loads(cache.read_text()))
    except (OSError, ValueError, TypeError):
        known = {}
    new: dict[str, Any] = {}

    def one(path: Path) -> dict:
        key, before = os.path.abspath(path), _state(path)
        if known.get(key, [None])[0] == before:
            return known[key][1]
        found = json.loads(json.dumps(look(str(path))))  # as the cache gives it back
        if before == _state(path) and time.time() - max(before[2:]) / 1e9 > _YOUNG:
            new[key] = [before, found]
        return found

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(one, paths))
    if new:
        # A second process may have written meanwhile what is found again then.
        kept = {key: known[key] for key in map(os.path.abspath, paths) if key in known}
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(cache, json.dumps({**kept, **new}))
        except OSError:
            pass
    return results


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]
