"""White levels, files passed over, and what is no image file."""

import os
import socket

import cv2
import numpy as np
import pytest
from PIL import Image

from dense_ssl.datasets import UnlabeledImages, UnreadableImage, read_rgb
from dense_ssl.datasets.image_reading import FORMATS, check_image
from dense_ssl.datasets.survey import find_levels
from dense_ssl.errors import UserError

from .images import blobs, write_images
from .test_unlabeled import LOAD, log  # noqa: F401

WIDE = blobs().astype(np.uint16) * 16  # 12 bits


def write_wide(folder, count=3, suffix='tif', pixels=WIDE[..., 0]):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.fromarray(pixels // (i + 1)).save(folder / f'{i}.{suffix}')
    return [str(folder / f'{i}.{suffix}') for i in range(count)]


@pytest.mark.parametrize('suffix', ['tif', 'png'])
def test_twelve_bits_keep_their_gray_levels(tmp_path, suffix, log):  # noqa: F811
    write_wide(tmp_path, suffix=suffix)
    data = UnlabeledImages(data_root=str(tmp_path), pipeline=LOAD)
    expected = np.rint(WIDE[..., 0] / 4095 * 255)
    assert (data[0]['img'] == expected[..., None]).all()
    # one level for all: brightness between images stays
    assert (data[1]['img'] == np.rint(WIDE[..., 0] // 2 / 4095 * 255)[..., None]).all()
    assert any('4095' in line and 'white_level' in line for line in log)


@pytest.mark.parametrize('suffix', ['tif', 'png'])
def test_wide_colors(tmp_path, suffix):
    path = str(tmp_path / f'a.{suffix}')
    cv2.imwrite(path, WIDE[..., ::-1])
    levels = find_levels('auto', [path], 'it')
    assert levels == dict(integer=(0, 4095))
    assert (read_rgb(path, levels) == np.rint(WIDE / 4095 * 255)).all()


@pytest.mark.parametrize('kind, turned', [(np.uint16, 6), (np.float32, 3), (np.uint16, 5)])
def test_wide_colors_are_upright(tmp_path, kind, turned):
    tifffile = pytest.importorskip('tifffile')
    turn = {
        3: lambda x: np.rot90(x, 2),
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1),
    }
    path = str(tmp_path / 'a.tif')
    tags = [(274, 'H', 1, turned, True)]
    tifffile.imwrite(path, WIDE.astype(kind), photometric='rgb', extratags=tags)
    levels = dict(integer=(0, 4095), float=(0, 4095))
    expected = np.rint(turn[turned](WIDE) / 4095 * 255)
    assert (read_rgb(path, levels) == expected).all()
    assert check_image(path) == expected.shape[1::-1]


def test_signed_and_floating_point_share_a_range(tmp_path):
    signed = write_wide(tmp_path, 2, pixels=WIDE[..., 0].astype(np.int32) - 1024)
    floats = write_wide(tmp_path / 'f', 2, pixels=WIDE[..., 0].astype(np.float32) / 10 - 50)
    levels = find_levels('auto', signed + floats, 'it')
    first = WIDE[..., 0].astype(int) - 1024
    assert levels['integer'] == (min(first.min(), (first // 2).min()), first.max())
    assert levels['float'][0] < 0
    both = [read_rgb(path, levels).max() for path in signed]
    assert both[0] == 255 > both[1]


def test_a_white_level_of_ones_own(tmp_path):
    write_wide(tmp_path)
    data = UnlabeledImages(data_root=str(tmp_path), pipeline=LOAD, white_level=8190)
    assert (data[0]['img'] == np.rint(WIDE[..., 0] / 8190 * 255)[..., None]).all()
    for level in ('white', (5, 5), -1, [1, 2, 3]):
        with pytest.raises(UserError, match='white_level'):
            UnlabeledImages(data_root=str(tmp_path), pipeline=LOAD, white_level=level)[0]


def test_bands_that_no_one_reads_are_named(tmp_path):
    tifffile = pytest.importorskip('tifffile')
    path = str(tmp_path / 'a.tif')
    for pixels, kwargs in (
        (np.zeros((9, 9, 5), np.uint8), dict(photometric='minisblack', planarconfig='contig')),
        (np.zeros((3, 9, 9), np.uint16), dict(photometric='rgb', planarconfig='separate')),
    ):
        tifffile.imwrite(path, pixels, **kwargs)
        for reader in (read_rgb, check_image):
            with pytest.raises(UnreadableImage, match=r'a\.tif.*bands'):
                reader(path)


def test_further_pages_are_said(tmp_path, log):  # noqa: F811
    first = Image.fromarray(WIDE[..., 0])
    first.save(tmp_path / 'a.tif', save_all=True, append_images=[first])
    UnlabeledImages(data_root=str(tmp_path), pipeline=LOAD)
    assert any('1 of 1' in line and 'pages' in line for line in log)


def test_endings_are_counted(tmp_path, log):  # noqa: F811
    for i, path in enumerate(write_images(tmp_path, 5)):
        if i:
            os.rename(path, path.replace('.jpg', ['.jfif', '.JPE', '.heic', '.heic'][i - 1]))
    (tmp_path / '.hidden').touch()
    assert len(UnlabeledImages(data_root=str(tmp_path))) == 3
    (line,) = (line for line in log if 'images (' in line)
    assert '3 images (1 x .jfif, 1 x .jpe, 1 x .jpg)' in line
    assert 'passed over: 2 x .heic, 1 x hidden files' in line


@pytest.mark.parametrize('kind', ['pipe', 'socket', 'device'])
def test_what_is_no_file_is_named_and_not_opened(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    if kind == 'pipe':
        os.mkfifo('a.jpg')
    elif kind == 'socket':
        socket.socket(socket.AF_UNIX).bind('a.jpg')
    else:
        os.symlink('/dev/zero', 'a.jpg')
    with pytest.raises(UnreadableImage, match=rf'a\.jpg.*a (named )?{kind}'):
        UnlabeledImages(data_root=str(tmp_path))
    with pytest.raises(UnreadableImage, match=rf'a (named )?{kind}'):
        read_rgb(str(tmp_path / 'a.jpg'))


def test_only_promised_formats_are_opened(tmp_path):
    Image.fromarray(blobs()).save(tmp_path / 'a.jpg', format='TGA')
    with pytest.raises(UnreadableImage, match='not an image'):
        read_rgb(str(tmp_path / 'a.jpg'))
    Image.init()
    assert {*FORMATS} <= {*Image.OPEN}


@pytest.mark.parametrize(
    'line, said',
    [('a\\000.jpg', 'backslashes'), ('000.jpg 3', r'without .*\(3\)'), ('x.zip/a.jpg', 'archive')],
)
def test_lines_of_a_list(tmp_path, line, said):
    write_images(tmp_path, 1)
    (tmp_path / 'x.zip').touch()
    (tmp_path / 'list.txt').write_text(line)
    with pytest.raises(UnreadableImage, match=rf'(?s){said}.*Correct the paths') as info:
        UnlabeledImages(data_root=str(tmp_path), ann_file='list.txt')
    assert 'Repair' not in str(info.value)


def test_archives(tmp_path):
    (tmp_path / 'a.zip').touch()
    for root in (tmp_path, tmp_path / 'a.zip'):
        with pytest.raises(UserError, match='pack_images.py'):
            UnlabeledImages(data_root=str(root))


def test_limit_of_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    Image.new('RGB', (30, 30)).save(tmp_path / 'a.png')
    for reader in (read_rgb, check_image):
        with pytest.raises(UnreadableImage, match='DENSE_SSL_MAX_PIXELS'):
            reader(str(tmp_path / 'a.png'))
    monkeypatch.setenv('DENSE_SSL_MAX_PIXELS', '1000')
    assert read_rgb(str(tmp_path / 'a.png')).shape == (30, 30, 3)
    monkeypatch.setenv('DENSE_SSL_MAX_PIXELS', '0')
    assert check_image(str(tmp_path / 'a.png')) == (30, 30)
