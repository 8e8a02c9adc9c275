"""Any image file as an upright 8-bit RGB array, or an error that names it."""

import errno
import os
import os.path as osp
import re
import stat
import time
from collections.abc import Callable, Mapping
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO, Optional

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torchvision.io import decode_jpeg, read_file

from dense_ssl.errors import UserError

from .packed import read_packed, split_packed

__all__ = [
    'Levels',
    'MissingImage',
    'UnreadableImage',
    'check_image',
    'look',
    'read_rgb',
    'wide_pixels',
]

#: What the endings of ``image_listing`` promise; Pillow's others stay closed.
FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'PPM', 'TIFF', 'WEBP', 'GIF', 'JPEG2000')
#: Black and white of pixels wider than 8 bits, by their kind: 'integer', 'float'; of many bands
#: also a list each.
Levels = Mapping[str, tuple[Any, Any]]

_ORIENTATION = 0x0112
_BITS, _BANDS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 277, 262, 339  # tags of TIFF
_WIDTH, _HEIGHT, _PLANES, _SEPARATE = 256, 257, 284, 2
_SIGNED, _FLOAT = 2, 3
_MAX_PIXELS = 'DENSE_SSL_MAX_PIXELS'
#: Seconds before a file that the system failed to read is tried again.
PAUSES = (0.5, 1.0, 2.0, 4.0)
_PASSING = {
    getattr(errno, name)
    for name in (
        'EIO ESTALE ETIMEDOUT EAGAIN EINTR EBUSY EREMOTEIO ENOTCONN ECONNRESET ECONNABORTED '
        'EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENOLINK ENFILE EMFILE'
    ).split()
    if hasattr(errno, name)
}
#: So many of them at the end are too many; decoders of other kinds notice it, or cannot know.
_ZEROS = dict(JPEG=16, MPO=16, WEBP=512)
_PIXELS, _END = b'\xff\xda', b'\xff\xd9'  # where a JPEG's pixels begin and end


class UnreadableImage(UserError, OSError):
    """An image file cannot be used; the message names the file and why.

    Takes the finished message only, so that it survives the trip from a
    loader's worker process to the main process as what it is.
    """


class MissingImage(UnreadableImage):
    """There is no such file: a list or a folder's name is wrong, not an image."""


def check_regular(path: str) -> None:
    """Raise UserError for what would block or never end when opened."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFIFO: 'a named pipe',
            stat.S_IFSOCK: 'a socket',
            stat.S_IFDIR: 'a folder',
        }
        raise UserError(f'it is {kinds.get(stat.S_IFMT(mode), "a device")}, not a file')


def open_file(path: str) -> BinaryIO:
    packed = split_packed(path)
    if packed:
        return BytesIO(read_packed(*packed))
    check_regular(path)
    return open(path, 'rb')


def _open_image(file: BinaryIO) -> Image.Image:
    if limit := os.environ.get(_MAX_PIXELS):
        # Pillow warns above its limit, and refuses above twice as many.
        Image.MAX_IMAGE_PIXELS = (int(limit) + 1) // 2 or None
    image = Image.open(file, formats=FORMATS)
    place = file.tell()
    if _broke_off(image.format, file):
        raise UserError('its end is all zeros: a copy of it broke off')
    file.seek(place)
    return image


def _broke_off(kind: Optional[str], file: BinaryIO) -> bool:
    """Whether zeros stand where the file should end, and its decoder may not notice."""
    if (zeros := _ZEROS.get(kind or '')) is None:
        return False
    end = _size(file)
    if kind == 'WEBP':
        file.seek(4)
        end = min(end, 8 + int.from_bytes(file.read(4), 'little'))
    file.seek(max(0, end - zeros))
    if any(file.read(zeros)):
        return False
    file.seek(0)  # a JPEG may be padded behind its end
    return kind == 'WEBP' or (content := file.read()).rfind(_END) < content.rfind(_PIXELS)


def _size(file: BinaryIO) -> int:
    """Its length in bytes; moves to the end."""
    return file.seek(0, SEEK_END)


def unreadable(path: str, error: Exception) -> UnreadableImage:
    kind = UnreadableImage
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        kind, why = MissingImage, _why_missing(path)
    elif isinstance(error, UnidentifiedImageError):
        with open_file(path) as file:
            empty = _size(file) == 0
            why = (
                'the file is empty (0 bytes)'
                if empty
                else _why_no_tiff(file)
                or f'its content is not an image of a kind that is read ({", ".join(FORMATS)})'
            )
    elif isinstance(error, Image.DecompressionBombError):
        why = (
            f'{error} If the file is sound, set the environment variable {_MAX_PIXELS} to a larger '
            'number of pixels (0: no limit; a pixel takes 3 bytes and more), or cut the image '
            'into tiles'
        )
    elif isinstance(error, UserError):
        why = str(error)
    else:
        why = f'{type(error).__name__}: {error}'
    return kind(f'cannot read the image {path}: {why}')


def _why_missing(path: str) -> str:
    if osp.islink(path):
        return f'there is no such file: it is a link to {os.readlink(path)}, which is not there'
    if '\\' in path:
        return 'there is no such file: its path has backslashes; write / in their place'
    more = re.fullmatch(r'(.*\.\w+)["\']?[\s,;:|]+(\S.*)', path)
    if more and osp.isfile(more[1]):
        return (
            f'there is no such file, but there is {more[1]}: lines of a list hold a path alone, '
            f'without what follows here ({more[2]})'
        )
    folder = osp.dirname(path)
    while folder and not osp.lexists(folder):
        folder = osp.dirname(folder)
    if osp.isfile(folder):
        return (
            f'there is no such file: {folder} is a file. If it is an archive, unpack it; '
            'tools/convert/pack_images.py makes one file of a folder that can be read as it is'
        )
    return 'there is no such file'


def _tags(file: BinaryIO) -> Mapping[int, Any]:
    """Of the first page of a TIFF file; empty for other files."""
    file.seek(0)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        return tags
    except Exception:  # whatever another kind of file makes Pillow raise
        return {}


def _why_no_tiff(file: BinaryIO) -> Optional[str]:
    """The bands of a TIFF file that no reader here takes; None for other files."""
    if not (tags := _tags(file)):
        return None
    return (
        f'it is a TIFF file of {tags.get(_BANDS, 1)} bands of {tags.get(_BITS, (1,))[0]} bits, of '
        'a layout that is not read: images are of one band, or of three (and alpha), of up to 16 '
        'bits or floating point of 32 or 64, one beside the other; write the bands that you want '
        'into files of their own'
    )


def to_8bit(values: np.ndarray, levels: Optional[Levels]) -> np.ndarray:
    """Values wider than 8 bits, scaled to 0..255.

    Between black and white of ``levels``, clipped there. Without, for a file
    alone: integers as 16 bits, so that 65535 becomes 255; floating point in
    [0, 1] or [0, 255] as such; anything else is stretched from the file's own
    minimum and maximum.
    """
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError('it holds values that are not finite')
    kind = 'float' if values.dtype.kind == 'f' else 'integer'
    if levels and kind in levels:
        low, high = levels[kind]
    elif kind == 'integer' and low >= 0 and high <= 65535:
        low, high = 0, 65535
    elif kind == 'float' and low >= 0 and high <= 255:
        low, high = 0, 1 if high <= 1 else 255
    black, white = np.asarray(low, np.float64), np.asarray(high, np.float64)
    scaled = (values.astype(np.float64) - black) * (255.0 / np.maximum(white - black, 1e-12))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def _is_wide(image: Any) -> bool:
    """Whether a header tells of more than unsigned 8 bits a band.

    Raises:
        UnidentifiedImageError: So it is, in a layout that OpenCV garbles.
    """
    if image.mode[0] in 'IF':  # I, I;16, I;16B, F: Pillow would clip
        return True
    if image.format == 'TIFF' and _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ()):
        return True
    # Of colors Pillow keeps the upper 8 bits.
    if image.mode not in ('RGB', 'RGBA', 'RGBX', 'LA'):
        return False
    if image.format == 'TIFF':
        wide = max(image.tag_v2.get(_BITS, (1,))) > 8
        if wide and image.tag_v2.get(_PLANES) == _SEPARATE:
            raise UnidentifiedImageError('bands are stored one after the other')
        return wide
    mark = {'PNG': ';16', 'PPM': '65535'}.get(image.format or '')
    return mark is not None and any(mark in str(tile[3]) for tile in image.tile)


def _wide_values(image: Any, file: BinaryIO) -> np.ndarray:
    """Pixels as stored, (H, W) or (H, W, 3)."""
    tags = image.tag_v2 if image.format == 'TIFF' else {}
    if len(image.getbands()) > 1:
        return _pixels_of_opencv(file)
    image.load()
    values = np.asarray(image)
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    if values.dtype == np.uint8 and signed:
        values = values.view(np.int8)
    elif values.dtype == np.int32 and tags.get(_BITS) == (32,) and not signed:
        values = values.view(np.uint32)
    return values


def _pixels_of_opencv(file: BinaryIO) -> np.ndarray:
    """Pixels, (H, W) or (H, W, 3) RGB, of TIFF files upright, of others as stored."""
    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    try:
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        values = None
    if values is None:
        raise UnidentifiedImageError('neither Pillow nor OpenCV')
    if values.ndim == 3 and values.shape[2] in (3, 4):
        return values[..., 2::-1]
    if values.ndim == 2:
        return values
    raise UnidentifiedImageError('neither gray nor RGB')


def _to_rgb(image: Any, file: BinaryIO, levels: Optional[Levels]) -> Image.Image:
    """First frame, upright, mode RGB; alpha is dropped, not composited."""
    if _is_wide(image):
        values = _wide_values(image, file)
        pixels = to_8bit(values, levels)
        if image.format == 'TIFF':  # Pillow and OpenCV both turn it
            white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0
            image = Image.fromarray(255 - pixels if white_is_zero else pixels)
        else:
            turn = image.getexif().get(_ORIENTATION, 1)
            image = Image.fromarray(pixels)
            image.getexif()[_ORIENTATION] = turn
    image.load()  # TIFF files come upright from here
    image = ImageOps.exif_transpose(image)
    if image.mode in ('P', 'PA', 'La', 'RGBa'):  # not directly to RGB
        image = image.convert('RGBA')
    return image if image.mode == 'RGB' else image.convert('RGB')


def _float_pixels(file: BinaryIO) -> Optional[np.ndarray]:
    """Upright pixels of floating point TIFF files that Pillow does not know."""
    tags = _tags(file)
    kinds, bits = set(tags.get(_SAMPLE_FORMAT, ())), set(tags.get(_BITS, ()))
    layout = tags.get(_BANDS, 1), tags.get(_PLANES, 1)
    if layout not in ((1, 1), (3, 1), (1, _SEPARATE)) or kinds != {_FLOAT} or not bits <= {32, 64}:
        return None
    return _pixels_of_opencv(file)


def _decode(path: str, of_pillow: Callable, of_floats: Callable) -> Any:
    """What one of two functions makes of an open image; UnreadableImage names the file."""
    try:
        # Not by name: Pillow would map plain TIFF files into memory, and then
        # garbles those that are stored rotated.
        with open_file(path) as file:
            try:
                with _open_image(file) as image:
                    return of_pillow(image, file)
            except UnidentifiedImageError:
                if (floats := _float_pixels(file)) is None:
                    raise
                return of_floats(floats)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every type
        raise unreadable(path, error) from error


def look(path: str) -> tuple[bool, bool]:
    """Whether pixels have more than 8 bits a band, and whether a TIFF file has further pages."""
    return _decode(
        path,
        lambda image, _: (_is_wide(image), image.format == 'TIFF' and image.n_frames > 1),
        lambda floats: (True, False),
    )


def wide_pixels(path: str) -> np.ndarray:
    """Pixels as stored of a file whose pixels have more than 8 bits a band."""
    return _decode(path, _wide_values, lambda values: values)


def _read_plain_jpeg(path: str) -> Optional[np.ndarray]:
    """RGB of a JPEG that holds RGB; None for Pillow to see what it is."""
    try:
        packed = split_packed(path)
        if not packed:
            check_regular(path)
        data = (
            torch.frombuffer(read_packed(*packed), dtype=torch.uint8) if packed else read_file(path)
        )
        if not data[-_ZEROS['JPEG'] :].any():
            return None
        image = decode_jpeg(data, apply_exif_orientation=True)
    # TypeError: torchvision before 0.18; ValueError: no bytes; OSError: no
    # such name in a pack
    except (RuntimeError, TypeError, ValueError, OSError):
        return None
    return image.permute(1, 2, 0).numpy() if len(image) == 3 else None


def read_rgb(path: str, levels: Optional[Levels] = None) -> np.ndarray:
    """Read an image file as uint8 RGB of shape (H, W, 3).

    Gray (1, 8, 16, 32 bits or floating point), with alpha, CMYK (also as
    Adobe writes it), palette, EXIF-rotated and animated files (first frame)
    all come out as one would see them. Alpha is dropped: pixels that are
    transparent show the color stored under them.

    Color JPEGs are decoded by torchvision (640 x 480: 1.05 ms against
    Pillow's 1.5 ms, the same pixels), everything else by Pillow. OpenCV is
    no slower, but returns truncated files half gray without a word.

    Args:
        path (str): The file, or ``<pack>.tar/<name>``.
        levels (dict, optional): Black and white of pixels wider than 8 bits
            by their kind ('integer', 'float'), one for the whole data set;
            without, a file is scaled by itself.

    Where the system fails to read (a network drive that is away for a moment) it is asked again a
    few times, for some seconds in all.

    Raises:
        UnreadableImage: The file is missing, empty, truncated, no image, or
            holds a kind of pixels that has no RGB form.
    """
    for pause in PAUSES:
        try:
            return _read_rgb(path, levels)
        except UnreadableImage as error:
            if getattr(error.__cause__, 'errno', None) not in _PASSING:
                raise
        time.sleep(pause)
    try:
        return _read_rgb(path, levels)
    except UnreadableImage as error:
        raise UnreadableImage(
            f'{error} (tried {len(PAUSES) + 1} times in {sum(PAUSES):g} s)'
        ) from error


def _read_rgb(path: str, levels: Optional[Levels]) -> np.ndarray:
    if path.lower().endswith(('.jpg', '.jpeg', '.jfif', '.jpe')):
        if (plain := _read_plain_jpeg(path)) is not None:
            return plain
    return _decode(
        path,
        lambda image, file: np.asarray(_to_rgb(image, file, levels)),
        lambda values: np.asarray(Image.fromarray(to_8bit(values, levels)).convert('RGB')),
    )


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
        tuple: Width and height in pixels of the upright image.

    Raises:
        UnreadableImage: As :func:`read_rgb`, but damage in the middle of a
            file goes unnoticed.
    """

    def size(image: Any, file: BinaryIO) -> tuple:
        _is_wide(image)
        if image.format == 'TIFF':  # versions of Pillow differ in when they turn it
            tags: Mapping[int, Any] = image.tag_v2
            stored = tags[_WIDTH], tags[_HEIGHT]
        else:
            # Of the header: PNG's own getexif would decode all pixels.
            tags, stored = Image.Image.getexif(image), image.size
        upright = stored[::-1] if tags.get(_ORIENTATION) in (5, 6, 7, 8) else stored
        if not _looks_complete(file, image.format or ''):
            image.load()
        return upright

    return _decode(path, size, lambda values: values.shape[1::-1])
