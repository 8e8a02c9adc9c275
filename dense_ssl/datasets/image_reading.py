"""Any image file as an upright 8-bit RGB array, or an error that names it."""

from io import SEEK_END, BytesIO
from typing import BinaryIO, Optional

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.io import decode_jpeg, read_file

from dense_ssl.errors import UserError

from .packed import read_packed, split_packed

__all__ = ['UnreadableImage', 'read_rgb', 'check_image']


class UnreadableImage(UserError, OSError):
    """An image file cannot be used; the message names the file and why.

    Takes the finished message only, so that it survives the trip from a
    loader's worker process to the main process as what it is.
    """


def _open(path: str) -> BinaryIO:
    packed = split_packed(path)
    return BytesIO(read_packed(*packed)) if packed else open(path, 'rb')


def _size(file: BinaryIO) -> int:
    """Its length in bytes; moves to the end."""
    return file.seek(0, SEEK_END)


def _unreadable(path: str, error: Exception) -> UnreadableImage:
    if isinstance(error, FileNotFoundError):
        why = 'there is no such file'
    elif isinstance(error, UnidentifiedImageError):
        with _open(path) as file:
            empty = _size(file) == 0
        why = (
            'the file is empty (0 bytes)'
            if empty
            else 'its content is not an image of a kind that Pillow knows'
        )
    else:
        why = f'{type(error).__name__}: {error}'
    return UnreadableImage(f'cannot read the image {path}: {why}')


def _wide_to_8bit(values: np.ndarray) -> np.ndarray:
    """Gray values wider than 8 bits, scaled to (not clipped at) 0..255.

    16 bits: ``value / 257`` rounded, so that 65535 becomes 255. Floating
    point: [0, 1] and [0, 255] are taken as such, and so are 32-bit integers
    up to 65535 as 16-bit values; anything else is stretched from its own
    minimum and maximum.
    """
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError('it holds values that are not finite')
    if values.dtype.kind in 'iu' and low >= 0 and high <= 65535:
        low, high = 0, 65535
    elif values.dtype.kind == 'f' and low >= 0 and high <= 255:
        low, high = 0, 1 if high <= 1 else 255
    span = max(float(high) - float(low), 1e-12)
    scaled = (values.astype(np.float64) - float(low)) * (255.0 / span)
    return np.rint(scaled).astype(np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    """First frame, upright, mode RGB; alpha is dropped, not composited."""
    image.load()  # TIFF files come upright from here
    if image.mode[0] in 'IF':  # I, I;16, I;16B, F: Pillow would clip
        gray = Image.fromarray(_wide_to_8bit(np.asarray(image)))
        if (orientation := image.getexif().get(0x0112)) is not None:
            gray.getexif()[0x0112] = orientation
        image = gray
    image = ImageOps.exif_transpose(image)
    if image.mode in ('P', 'PA', 'La', 'RGBa'):  # not directly to RGB
        image = image.convert('RGBA')
    return image if image.mode == 'RGB' else image.convert('RGB')


def _read_plain_jpeg(path: str) -> Optional[np.ndarray]:
    """RGB of a JPEG that holds RGB; None for Pillow to see what it is."""
    try:
        packed = split_packed(path)
        data = (
            torch.frombuffer(read_packed(*packed), dtype=torch.uint8) if packed else read_file(path)
        )
        image = decode_jpeg(data, apply_exif_orientation=True)
    # TypeError: torchvision before 0.18; ValueError: no bytes; OSError: no
    # such name in a pack
    except (RuntimeError, TypeError, ValueError, OSError):
        return None
    return image.permute(1, 2, 0).numpy() if len(image) == 3 else None


def read_rgb(path: str) -> np.ndarray:
    """Read an image file as uint8 RGB of shape (H, W, 3).

    Gray (1, 8, 16, 32 bits or floating point), with alpha, CMYK (also as
    Adobe writes it), palette, EXIF-rotated and animated files (first frame)
    all come out as one would see them. Alpha is dropped: pixels that are
    transparent show the color stored under them.

    Color JPEGs are decoded by torchvision (640 x 480: 1.05 ms against
    Pillow's 1.5 ms, the same pixels), everything else by Pillow. OpenCV is
    no slower, but returns truncated files half gray without a word.

    Raises:
        UnreadableImage: The file is missing, empty, truncated, no image, or
            holds a kind of pixels that has no RGB form.
    """
    if path.lower().endswith(('.jpg', '.jpeg')):
        if (plain := _read_plain_jpeg(path)) is not None:
            return plain
    try:
        # Not by name: Pillow would map plain TIFF files into memory, and then
        # garbles those that are stored rotated.
        with _open(path) as file, Image.open(file) as image:
            return np.asarray(_to_rgb(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every type
        raise _unreadable(path, error) from error


def _looks_complete(file: BinaryIO, file_format: str) -> bool:
    """Whether the file's last bytes show that nothing is cut off."""
    size = _size(file)
    if file_format == 'WEBP':
        file.seek(4)
        return size >= 8 + int.from_bytes(file.read(4), 'little')
    file.seek(max(0, size - 16))
    tail = file.read()
    if file_format in ('JPEG', 'MPO'):
        return b'\xff\xd9' in tail
    return file_format == 'PNG' and b'IEND' in tail


def check_image(path: str) -> tuple:
    """Open an image's header; decode it only if its end looks cut off.

    Returns:
        tuple: Width and height in pixels, as stored (before EXIF rotation).

    Raises:
        UnreadableImage: As :func:`read_rgb`, but damage in the middle of a
            file goes unnoticed.
    """
    try:
        with _open(path) as file, Image.open(file) as image:
            size = image.size
            if not _looks_complete(file, image.format or ''):
                image.load()
            return size
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
