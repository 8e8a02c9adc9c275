"""Image files of another number of bands than three: one, or any (TIFF, NumPy arrays)."""

from io import SEEK_END
from typing import Any, BinaryIO, Optional

import cv2
import numpy as np
from PIL import Image, ImageOps

from dense_ssl.errors import UserError

from .image_reading import Levels, check_image, open_file, read_rgb, to_8bit, unreadable

__all__ = ['EXTENSION', 'bands_as_stored', 'check_bands', 'reads_as_rgb', 'read_bands']

EXTENSION = '.npy'
_ORIENTATION = 274
_TURNED = {  # by EXIF's orientation
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


def reads_as_rgb(path: str, channels: int) -> bool:
    """Whether a file is read as RGB, to stay so or to become gray."""
    return channels == 3 or (channels == 1 and not path.lower().endswith(EXTENSION))


def read_bands(path: str, channels: int, levels: Optional[Levels] = None) -> np.ndarray:
    """Read a file of ``channels`` bands as uint8 (H, W, channels).

    One band: gray images of every kind that :func:`read_rgb` takes, color ones as their luma.
    Otherwise TIFF files (bands interleaved, in planes, or a page each), and what Pillow gives with
    as many bands, a fourth one as it is; NumPy arrays (``.npy``, (H, W, N) or (N, H, W)).

    Args:
        path: The file, or ``<pack>.tar/<name>``.
        channels: How many.
        levels: Black and white of pixels wider than 8 bits, each a number or one a band.

    Raises:
        UnreadableImage: As :func:`read_rgb`, or it has another number of bands.
    """
    if reads_as_rgb(path, channels):
        return cv2.cvtColor(read_rgb(path, levels), cv2.COLOR_RGB2GRAY)[..., None]
    values = np.ascontiguousarray(bands_as_stored(path, channels))
    try:
        return values if values.dtype == np.uint8 else to_8bit(values, levels)
    except UserError as error:
        raise unreadable(path, error) from error


def bands_as_stored(path: str, channels: int, header_only: bool = False) -> np.ndarray:
    """Values as stored, (H, W, channels), upright.

    Args:
        path: The file.
        channels: How many bands it must have.
        header_only: Of TIFF files and NumPy arrays do not read the values: all are 0.
    """
    try:
        with open_file(path) as file:
            values, bands = _read(path, file, header_only)
            return _bands_last(values, bands, channels)
    except MemoryError:
        raise
    except Exception as error:  # whatever a decoder raises
        raise unreadable(path, error) from error


def check_bands(path: str, channels: int) -> tuple:
    """Width and height of the upright image; its number of bands is looked at too.

    Raises:
        UnreadableImage: As :func:`read_bands`, but damage in the middle of a file goes unnoticed.
    """
    if reads_as_rgb(path, channels):
        return check_image(path)
    return bands_as_stored(path, channels, header_only=True).shape[1::-1]


def _read(path: str, file: BinaryIO, header_only: bool) -> tuple[np.ndarray, Optional[int]]:
    """Values, and the axis of the bands; None if the shape has to tell."""
    if path.lower().endswith(EXTENSION):
        return _read_array(file, header_only), None
    start = file.read(4)
    file.seek(0)
    if start in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return _read_tiff(file, header_only)
    with Image.open(file) as image:
        if any(';16' in str(tile[3]) for tile in image.tile):  # Pillow keeps the upper 8 bits
            turn = image.getexif().get(_ORIENTATION, 1)
            file.seek(0)
            pixels: Any = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
            pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
            return _TURNED.get(turn, lambda x: x)(pixels), 2
        return np.asarray(ImageOps.exif_transpose(image)), 2


def _read_array(file: BinaryIO, header_only: bool) -> np.ndarray:
    if not header_only:
        return np.load(file, allow_pickle=False)
    major, _ = np.lib.format.read_magic(file)
    shape, _, dtype = getattr(np.lib.format, f'read_array_header_{major}_0')(file)
    _require_size(file, file.tell() + dtype.itemsize * int(np.prod(shape)))
    return np.broadcast_to(np.zeros((), dtype), shape)


def _read_tiff(file: BinaryIO, header_only: bool) -> tuple[np.ndarray, Optional[int]]:
    try:
        import tifffile
    except ImportError:
        raise UserError('TIFF files of many bands need tifffile: `pip install tifffile`') from None
    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        more = [i for i, axis in enumerate(series.axes) if axis not in 'YX']
        if len(more) > 1:
            raise UserError(f'it has the axes {series.axes} {series.shape}, more than one of bands')
        pages: Any = filter(None, series.pages)
        for page in pages:
            _require_size(file, max(map(sum, zip(page.dataoffsets, page.databytecounts))))
        stand_in = np.broadcast_to(np.zeros((), series.dtype), series.shape)
        values = stand_in if header_only else series.asarray()
        tag = series.keyframe.tags.get(_ORIENTATION)
        if series.axes == 'QYX':  # of (H, W, N) too tifffile makes pages, if not told otherwise
            return values, None
    values = np.moveaxis(values, more[0], -1) if more else values[..., None]
    return _TURNED.get(getattr(tag, 'value', 1), lambda x: x)(values), 2


def _require_size(file: BinaryIO, needed: int) -> None:
    place, size = file.tell(), file.seek(0, SEEK_END)
    file.seek(place)
    if size < needed:
        raise UserError(f'it is cut off: {size} of {needed} bytes or more')


def _bands_last(values: np.ndarray, bands: Optional[int], channels: int) -> np.ndarray:
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.dtype.kind not in 'buif':
        raise UserError(f'it is an array {values.shape} of {values.dtype}, not an image')
    if bands is None:
        bands = 2 if values.shape[2] == channels or values.shape[0] != channels else 0
    if values.shape[bands] != channels:
        raise UserError(
            f'it has {values.shape[bands]} bands, {channels} are wanted (--channels {channels})'
        )
    return np.moveaxis(values, bands, -1)
