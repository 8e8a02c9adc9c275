import threading
import time
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from dense_ssl.datasets import UnreadableImage, image_reading, read_rgb
from dense_ssl.datasets.image_reading import check_image

from .images import blobs, cut

RGB = blobs()
RAMP16 = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) * 27
EXIF_ORIENTATION = 0x0112


def luminance(img):
    return img @ [0.299, 0.587, 0.114]


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        img = read_rgb(str(path))
    assert img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3
    return img.astype(float)


@pytest.mark.parametrize(
    'suffix', ['jpg', 'JPEG', 'png', 'bmp', 'ppm', 'tif', 'tiff', 'webp', 'gif']
)
def test_color_keeps_its_channel_order(tmp_path, suffix):
    path = tmp_path / f'a.{suffix}'
    save = dict(lossless=True) if suffix == 'webp' else {}
    if suffix.lower() in ('jpg', 'jpeg'):
        save = dict(quality=98, subsampling=0)
    Image.fromarray(RGB).save(path, **save)
    tolerance = dict(jpg=2, JPEG=2, gif=16).get(suffix, 0)
    assert np.abs(read(path) - RGB).mean() <= tolerance


def test_jpeg_pixels_are_those_of_pillow(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'a.jpg')
    with Image.open(tmp_path / 'a.jpg') as image:
        assert (read(tmp_path / 'a.jpg') == np.asarray(image)).all()


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'pgm', 'bmp', 'tif'])
def test_gray_becomes_three_equal_channels(tmp_path, suffix):
    gray = np.rint(luminance(RGB)).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / f'a.{suffix}')
    img = read(tmp_path / f'a.{suffix}')
    assert (img == img[..., :1]).all()
    assert np.abs(img[..., 0] - gray).mean() <= (2 if suffix == 'jpg' else 0)


@pytest.mark.parametrize(
    'suffix, pixels',
    [
        ('png', RAMP16),
        ('tif', RAMP16),
        ('tif', RAMP16.astype('>u2')),
        ('pgm', RAMP16.astype(np.int32)),
        ('tif', RAMP16.astype(np.int32)),
        ('tif', (RAMP16 / 65535).astype(np.float32)),
        ('tif', (RAMP16 / 257).astype(np.float32)),
    ],
)
def test_deep_gray_is_scaled_not_clipped(tmp_path, suffix, pixels):
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(pixels).save(path)
    with Image.open(path) as image:
        assert image.mode[0] in 'IF'
    assert np.abs(read(path)[..., 1] - RAMP16 / 257).max() <= 0.5 + 1e-3


def test_deep_gray_out_of_range_is_stretched(tmp_path):
    Image.fromarray(RAMP16.astype(np.float32) - 3e4).save(tmp_path / 'a.tif')
    img = read(tmp_path / 'a.tif')[..., 0]
    assert np.abs(img - RAMP16 / RAMP16.max() * 255).max() <= 0.5 + 1e-3


def test_flat_deep_gray_is_finite(tmp_path):
    Image.fromarray(np.full((5, 5), 3e5, np.float32)).save(tmp_path / 'a.tif')
    assert (read(tmp_path / 'a.tif') == 0).all()


def test_float_image_with_nan_is_refused(tmp_path):
    pixels = np.full((5, 5), np.nan, np.float32)
    Image.fromarray(pixels).save(tmp_path / 'a.tif')
    with pytest.raises(UnreadableImage, match=r'a\.tif.*not finite'):
        read_rgb(str(tmp_path / 'a.tif'))


@pytest.mark.parametrize('suffix, channels', [('png', 3), ('png', 4), ('tif', 3), ('ppm', 3)])
def test_deep_color(tmp_path, suffix, channels):
    path = str(tmp_path / f'a.{suffix}')
    cv2.imwrite(path, np.dstack([RAMP16] * channels))
    assert np.abs(read(path) - RAMP16[..., None] / 257).max() <= 1


@pytest.mark.parametrize('suffix', ['png', 'tif', 'webp'])
def test_alpha_is_dropped(tmp_path, suffix):
    alpha = np.full(RGB.shape[:2], 90, np.uint8)
    save = dict(lossless=True, exact=True) if suffix == 'webp' else {}
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / f'a.{suffix}', **save)
    assert (read(tmp_path / f'a.{suffix}') == RGB).all()


def test_gray_with_alpha(tmp_path):
    gray = Image.fromarray(RGB).convert('L')
    Image.merge('LA', [gray, gray]).save(tmp_path / 'a.png')
    assert (read(tmp_path / 'a.png') == np.asarray(gray)[..., None]).all()


def test_cmyk_jpeg(tmp_path):
    """Adobe's CMYK files hold inverted values; Pillow writes them so."""
    path = tmp_path / 'a.jpg'
    Image.fromarray(RGB).convert('CMYK').save(path, quality=98)
    assert b'Adobe' in path.read_bytes()
    assert np.abs(read(path) - RGB).mean() < 3


def test_cmyk_tiff(tmp_path):
    Image.fromarray(RGB).convert('CMYK').save(tmp_path / 'a.tif')
    assert (read(tmp_path / 'a.tif') == RGB).all()


@pytest.mark.parametrize(
    'suffix, transparency',
    [('png', None), ('png', 3), ('png', bytes(range(64))), ('gif', None), ('gif', 3)],
)
def test_palette(tmp_path, suffix, transparency):
    palette = Image.fromarray(RGB).quantize(64)
    expected = np.asarray(palette.convert('RGB'))
    save = {} if transparency is None else dict(transparency=transparency)
    palette.save(tmp_path / f'a.{suffix}', **save)
    assert (read(tmp_path / f'a.{suffix}') == expected).all()


@pytest.mark.parametrize('suffix', ['png', 'tif', 'bmp'])
def test_one_bit(tmp_path, suffix):
    bits = luminance(RGB) > 128
    Image.fromarray(bits).save(tmp_path / f'a.{suffix}')
    assert (read(tmp_path / f'a.{suffix}') == bits[..., None] * 255).all()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(
    'suffix, mode',
    [
        ('jpg', 'RGB'),
        ('jpg', 'L'),
        ('png', 'RGB'),
        ('png', 'I;16'),
        ('tif', 'RGB'),
        ('tif', 'L'),
        ('tif', 'I;16'),
        ('webp', 'RGB'),
    ],
)
def test_exif_rotation_is_applied(tmp_path, suffix, orientation, mode):
    upright = {  # how each orientation is undone, by the EXIF standard
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
        8: lambda x: np.rot90(x, 1),
    }[orientation]
    gray = np.rint(luminance(RGB)).astype(np.uint8)
    pixels = dict(RGB=RGB, L=gray)
    pixels['I;16'] = gray.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    save = dict(lossless=True) if suffix == 'webp' else {}
    Image.fromarray(pixels[mode]).save(tmp_path / f'a.{suffix}', exif=exif, **save)
    expected = upright(RGB if mode == 'RGB' else np.dstack([gray] * 3))
    img = read(tmp_path / f'a.{suffix}')
    assert img.shape == expected.shape
    assert np.abs(img - expected).mean() <= (4 if suffix == 'jpg' else 0)


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png', 'tif'])
def test_animated_files_give_their_first_frame(tmp_path, suffix):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    save = dict(lossless=True) if suffix == 'webp' else {}
    first.save(tmp_path / f'a.{suffix}', save_all=True, append_images=[second], **save)
    with Image.open(tmp_path / f'a.{suffix}') as image:
        assert image.n_frames == 2
    tolerance = 16 if suffix == 'gif' else 0
    assert np.abs(read(tmp_path / f'a.{suffix}') - RGB).mean() <= tolerance


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (7, 1)])
def test_tiny(tmp_path, shape):
    pixels = RGB[: shape[0], : shape[1]]
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    assert (read(tmp_path / 'a.png') == pixels).all()


def test_content_decides_not_the_name(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'a.jpg', format='PNG')
    assert (read(tmp_path / 'a.jpg') == RGB).all()


@pytest.mark.parametrize('reader', [read_rgb, check_image])
class TestErrors:
    def test_missing(self, tmp_path, reader):
        with pytest.raises(UnreadableImage, match=r'no\.jpg.*no such file'):
            reader(str(tmp_path / 'no.jpg'))

    def test_zero_bytes(self, tmp_path, reader):
        (tmp_path / 'a.jpg').touch()
        with pytest.raises(UnreadableImage, match=r'a\.jpg.*empty'):
            reader(str(tmp_path / 'a.jpg'))

    def test_text(self, tmp_path, reader):
        (tmp_path / 'a.jpg').write_text('hello\n' * 100)
        with pytest.raises(UnreadableImage, match=r'a\.jpg.*not an image'):
            reader(str(tmp_path / 'a.jpg'))

    def test_folder(self, tmp_path, reader):
        (tmp_path / 'a.jpg').mkdir()
        with pytest.raises(UnreadableImage, match=r'a\.jpg'):
            reader(str(tmp_path / 'a.jpg'))

    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'tif', 'webp', 'ppm'])
    @pytest.mark.parametrize('keep', [0.02, 0.5, 0.95])
    def test_truncated(self, tmp_path, reader, suffix, keep):
        path = tmp_path / f'a.{suffix}'
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
        Image.fromarray(noise.astype(np.uint8)).save(path)
        cut(path, keep)
        with pytest.raises(UnreadableImage, match=rf'a\.{suffix}'):
            reader(str(path))


def test_check_image_gives_the_size(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'a.png')
    assert check_image(str(tmp_path / 'a.png')) == (60, 40)


@pytest.fixture
def failing(tmp_path):
    """A file that the system fails to read: EIO."""
    path = tmp_path / 'a.jpg'
    path.symlink_to('/proc/self/mem')
    with pytest.raises(OSError, match='Input/output error'), open(path, 'rb') as file:
        file.read(1)
    return path


def test_a_file_that_cannot_be_read_for_a_moment(tmp_path, failing, monkeypatch):
    monkeypatch.setattr(image_reading, 'PAUSES', (0.05, 0.1, 0.2, 10.0))
    Image.fromarray(blobs()).save(tmp_path / 'b.jpg')
    back = threading.Timer(0.2, lambda: (tmp_path / 'b.jpg').rename(failing))
    start = time.monotonic()
    back.start()
    assert read_rgb(str(failing)).shape == (40, 60, 3)
    assert time.monotonic() - start < 5


def test_a_file_that_stays_unreadable(failing, monkeypatch):
    monkeypatch.setattr(image_reading, 'PAUSES', (0.01, 0.01))
    with pytest.raises(UnreadableImage, match=r'a\.jpg.*Input/output error.*tried 3 times'):
        read_rgb(str(failing))
    assert sum(image_reading.PAUSES) < 10


def test_damage_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(image_reading, 'PAUSES', (60.0,))
    (tmp_path / 'a.png').write_bytes(b'')
    for name in ('a.png', 'none.png'):
        with pytest.raises(UnreadableImage):
            read_rgb(str(tmp_path / name))


@pytest.mark.parametrize('share', [0.5, 0.9])
@pytest.mark.parametrize(
    'name, options',
    [('a.jpg', {}), ('a.jpg', dict(progressive=True)), ('a.png', {}), ('a.webp', {})],
)
def test_a_copy_that_broke_off_leaving_zeros(tmp_path, name, options, share):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    content = path.read_bytes()
    whole = int(share * len(content))
    path.write_bytes(content[:whole] + bytes(len(content) - whole))
    for read in (read_rgb, check_image):
        with pytest.raises(UnreadableImage, match=name):
            read(str(path))
    path.write_bytes(content + bytes(5000))  # more than the whole does no harm
    assert read_rgb(str(path)).shape == (100, 120, 3)
    assert check_image(str(path)) == (120, 100)
