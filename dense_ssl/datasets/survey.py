"""What the images of a data set are like, seen in a sample of them before training."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Optional, Union

import numpy as np
from mmengine.logging import print_log

from dense_ssl.errors import UserError

from .band_reading import bands_as_stored, check_bands, read_bands, reads_as_rgb
from .image_reading import Levels, MissingImage, UnreadableImage, look, wide_pixels

__all__ = [
    'HEADERS',
    'MEASURED',
    'WhiteLevel',
    'check_images',
    'listed',
    'measure',
    'remedy',
    'find_levels',
    'given_levels',
    'name_unreadable',
    'sample',
]

#: A number, (black, white), such a pair for each kind of pixels, or 'auto': see find_levels.
WhiteLevel = Union[str, float, Sequence[float], Levels]

HEADERS, DECODED, MEASURED = 500, 64, 256  # files


def sample(number: int, most: int) -> np.ndarray:
    """At most ``most`` indices below ``number``, in order, the same ones every time."""
    # A generator of its own: checks must not move the seeded ones.
    if most >= number:
        return np.arange(number)
    return np.sort(np.random.default_rng(0).choice(number, most, replace=False))


def check_images(paths: Sequence[str], channels: int = 3) -> list[Union[tuple, UnreadableImage]]:
    """Upright size of each file, or what is wrong with it; opened in threads."""

    def size_or_error(path: str) -> Union[tuple, UnreadableImage]:
        try:
            return check_bands(path, channels)
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(size_or_error, paths))


def name_unreadable(results: Sequence[Union[tuple, UnreadableImage]]) -> str:
    """What :func:`check_images` found wrong, and what to do; empty if nothing."""
    bad = [x for x in results if isinstance(x, UnreadableImage)]
    if not bad:
        return ''
    return (
        f'{len(bad)} of {len(results)} image files checked cannot be used:\n'
        f'{listed([str(error) for error in bad])}\n{remedy(bad)}'
    )


def remedy(errors: Sequence[UnreadableImage]) -> str:
    """What helps against all of them, without a full stop."""
    missing = sum(isinstance(error, MissingImage) for error in errors)
    lines = 'Correct the paths: what lists them (ann_file), or the folder (data_root)'
    files = 'Repair or remove such files'
    return lines if missing == len(errors) else f'{lines}. {files}' if missing else files


def listed(items: Sequence[str], most: int = 10) -> str:
    """A line each, of the first ``most``."""
    rest = [f'  ... and {len(items) - most} more'] * (len(items) > most)
    return '\n'.join([f'  {item}' for item in items[:most]] + rest)


def find_levels(
    white_level: WhiteLevel, paths: Sequence[str], where: str, channels: int = 3
) -> Levels:
    """Black and white of all images whose pixels are wider than 8 bits; what was found is logged.

    Args:
        white_level: The value that becomes 255 (0 becomes 0), or black and
            white, or 'auto': integers from the bits that the largest value of
            a sample needs (a 12-bit camera's 16-bit files: 4095), floating
            point within [0, 1] or [0, 255] as such, anything else from the
            sample's least to its largest value.
        paths: The data set's images.
        where: What messages call the data set.
        channels: Bands of its images: of more than three each has its own black and white.

    Raises:
        UserError: ``white_level`` makes no sense.
    """
    given = given_levels(white_level)
    banded = [path for path in paths if not reads_as_rgb(path, channels)]
    if banded:
        return given or _levels_of_bands(banded, where, channels)
    chosen = [paths[i] for i in sample(len(paths), HEADERS)]
    with ThreadPoolExecutor(8) as threads:
        looks = [x or (False, False) for x in threads.map(_or_none(look), chosen)]
        wide = [path for path, (is_wide, _) in zip(chosen, looks) if is_wide]
        ranges = [
            x
            for x in threads.map(
                _or_none(_value_range), [wide[i] for i in sample(len(wide), DECODED)]
            )
            if x
        ]
    pages = sum(more for _, more in looks)
    if pages:
        print_log(
            f'{where}: {pages} of {len(chosen)} images looked at have several pages; the first is '
            'read, the others are left out',
            'current',
            logging.WARNING,
        )
    levels = {}
    for kind in sorted({kind for kind, *_ in ranges}):
        low = min(x[1] for x in ranges if x[0] == kind)
        high = max(x[2] for x in ranges if x[0] == kind)
        levels[kind] = given[kind] if given else _levels(kind, low, high)
        black, white = levels[kind]
        print_log(
            f'{where}: {len(wide)} of {len(chosen)} images looked at have more than 8 bits a pixel '
            f'({kind}, values from {low:g} to {high:g}); black is {black:g}, white {white:g}'
            + (', as given' if given else '; set white_level for others'),
            'current',
            logging.INFO if given or white in (1, 65535) else logging.WARNING,
        )
    return given or levels


def _levels_of_bands(paths: Sequence[str], where: str, channels: int) -> Levels:
    def value_range(path: str) -> Optional[tuple]:
        values = bands_as_stored(path, channels)
        kind = 'float' if values.dtype.kind == 'f' else 'integer'
        return None if values.dtype == np.uint8 else (kind, values.min((0, 1)), values.max((0, 1)))

    chosen = [paths[i] for i in sample(len(paths), DECODED)]
    with ThreadPoolExecutor(8) as threads:
        ranges = [x for x in threads.map(_or_none(value_range), chosen) if x]
    levels: dict[str, tuple] = {}
    for kind in sorted({kind for kind, *_ in ranges}):
        low = np.min([x[1] for x in ranges if x[0] == kind], 0).tolist()
        high = np.max([x[2] for x in ranges if x[0] == kind], 0).tolist()
        black, white = zip(*(_levels(kind, *pair) for pair in zip(low, high)))
        levels[kind] = list(map(float, black)), list(map(float, white))
        print_log(
            f'{where}: of {len(chosen)} images looked at {len(ranges)} have more than 8 bits a '
            f'pixel ({kind}, values from {low} to {high}, a number a band); black is '
            f'{levels[kind][0]}, white {levels[kind][1]}; set white_level for others',
            'current',
            logging.WARNING,
        )
    return levels


def measure(paths: Sequence[str], channels: int, levels: Levels) -> tuple[list, list]:
    """Mean and standard deviation of each band in a sample of images, as they are read.

    Raises:
        UnreadableImage: Names a file.
    """

    def sums(path: str) -> np.ndarray:
        values = read_bands(path, channels, levels).reshape(-1, channels).astype(np.float64)
        return np.stack([np.full(channels, len(values)), values.sum(0), (values**2).sum(0)])

    chosen = [paths[i] for i in sample(len(paths), MEASURED)]
    with ThreadPoolExecutor(8) as threads:
        number, total, squares = np.sum(list(threads.map(sums, chosen)), 0)
    mean = total / number
    std = np.sqrt(np.maximum(squares / number - mean**2, 0)).clip(1)  # 1: a band of one value
    return mean.round(3).tolist(), std.round(3).tolist()


def given_levels(white_level: WhiteLevel) -> Optional[Levels]:
    """None for 'auto'."""
    if isinstance(white_level, str) and white_level == 'auto':
        return None
    pairs = white_level if isinstance(white_level, dict) else {}
    if not pairs:
        pair = (0, white_level) if np.isscalar(white_level) else white_level
        pairs = dict(integer=pair, float=pair)
    try:
        levels = {
            kind: tuple(np.asarray(level, float).tolist() for level in (black, white))
            for kind, (black, white) in pairs.items()
        }
        if all(np.all(np.less(black, white)) for black, white in levels.values()):
            return levels
    except (TypeError, ValueError):
        pass
    raise UserError(
        "white_level must be 'auto', the value that is white (4095 for 12 bits), or (black, white) "
        f'with black below white, got {white_level!r}'
    )


def _levels(kind: str, low: float, high: float) -> tuple[float, float]:
    if low < 0:
        return low, high
    if kind == 'integer':
        return 0.0, float(2 ** max(1, int(high).bit_length()) - 1)
    return (0.0, 1.0 if high <= 1 else 255.0) if high <= 255 else (low, high)


def _value_range(path: str) -> tuple[str, float, float]:
    values = wide_pixels(path)
    kind = 'float' if values.dtype.kind == 'f' else 'integer'
    return kind, float(values.min()), float(values.max())


def _or_none(function):
    """None for unreadable files: others name them."""

    def call(path: str):
        try:
            return function(path)
        except UnreadableImage:
            return None

    return call
