"""Images of one band, or of many."""

import numpy as np
import pytest
import torch
from PIL import Image

from dense_ssl.datasets import UnlabeledImages, UnreadableImage
from dense_ssl.datasets.band_reading import check_bands, read_bands
from dense_ssl.datasets.packing import pack_images
from dense_ssl.datasets.survey import find_levels, given_levels, measure
from dense_ssl.datasets.transforms import ColorParams, RandomColor, apply_color
from dense_ssl.errors import UserError
from dense_ssl.models.batch_color import batch_color

tifffile = pytest.importorskip('tifffile')
SHAPE = 24, 40


def bands(number, seed=0, dtype=np.uint8, high=256):
    rng = np.random.default_rng(seed)
    return rng.integers(0, high, (*SHAPE, number)).astype(dtype)


def load(channels):
    return [dict(type='LoadRGBImage', channels=channels)]


@pytest.mark.parametrize('number', [2, 4, 5, 8, 13])
def test_every_layout_of_many_bands(tmp_path, number):
    values = bands(number)
    planes = np.moveaxis(values, -1, 0)
    tifffile.imwrite(
        tmp_path / 'chunky.tif', values, planarconfig='contig', photometric='minisblack'
    )
    tifffile.imwrite(
        tmp_path / 'planes.tif', planes, planarconfig='separate', photometric='minisblack'
    )
    tifffile.imwrite(tmp_path / 'pages.tif', planes, photometric='minisblack', metadata=None)
    tifffile.imwrite(tmp_path / 'zip.tif', values, photometric='minisblack', compression='zlib')
    np.save(tmp_path / 'last.npy', values)
    np.save(tmp_path / 'first.npy', planes)
    for path in tmp_path.iterdir():
        assert np.array_equal(read_bands(str(path), number), values), path.name
        assert check_bands(str(path), number) == SHAPE[::-1]
        with pytest.raises(UnreadableImage, match=f'{path.name}.*bands, {number + 2} are wanted'):
            read_bands(str(path), number + 2)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) - 200])
        with pytest.raises(UnreadableImage, match=path.name):
            check_bands(str(path), number)


def test_four_bands_of_png_are_bands(tmp_path):
    values = bands(4)
    Image.fromarray(values, 'RGBA').save(tmp_path / 'a.png')
    assert np.array_equal(read_bands(str(tmp_path / 'a.png'), 4), values)


def test_stored_rotated(tmp_path):
    values = bands(5)
    for turn, upright in (
        (3, values[::-1, ::-1]),
        (6, np.rot90(values, -1)),
        (8, np.rot90(values)),
    ):
        path = str(tmp_path / f'{turn}.tif')
        tifffile.imwrite(
            path,
            values,
            photometric='minisblack',
            planarconfig='contig',
            extratags=[(274, 'H', 1, turn, True)],
        )
        assert np.array_equal(read_bands(path, 5), upright)
        assert check_bands(path, 5) == upright.shape[1::-1]


def test_no_image(tmp_path):
    for name, value in (('a', np.zeros(5)), ('b', np.zeros((2, 3, 4, 5))), ('c', np.array(['x']))):
        np.save(tmp_path / f'{name}.npy', value)
        with pytest.raises(UnreadableImage, match='not an image'):
            check_bands(str(tmp_path / f'{name}.npy'), 4)
    np.save(tmp_path / 'd.npy', np.array([{}], object))
    with pytest.raises(UnreadableImage, match='allow_pickle'):
        read_bands(str(tmp_path / 'd.npy'), 4)


def test_one_band_of_gray_and_of_color(tmp_path):
    gray, color = bands(1)[..., 0], bands(3)
    Image.fromarray(gray).save(tmp_path / 'gray.png')
    Image.fromarray(color).save(tmp_path / 'color.png')
    np.save(tmp_path / 'gray.npy', gray)
    for name in ('gray.png', 'gray.npy'):
        assert np.array_equal(read_bands(str(tmp_path / name), 1)[..., 0], gray)
    luma = np.asarray(Image.fromarray(color).convert('L')).astype(int)
    assert abs(read_bands(str(tmp_path / 'color.png'), 1)[..., 0] - luma).max() <= 1
    dataset = UnlabeledImages(data_root=str(tmp_path), pipeline=load(1))
    assert [dataset[i]['img'].shape for i in range(3)] == [(*SHAPE, 1)] * 3


def test_wide_pixels_have_levels_of_each_band(tmp_path):
    """A dim band is not read as black beside a bright one."""
    values = bands(4, dtype=np.uint16, high=4096) // np.array([1, 1, 1, 64], np.uint16)
    tifffile.imwrite(tmp_path / 'a.tif', values, photometric='minisblack')
    dataset = UnlabeledImages(data_root=str(tmp_path), pipeline=load(4))
    img = dataset[0]['img']
    assert dataset.pipeline.transforms[0].levels == {'integer': ([0.0] * 4, [4095.0] * 3 + [63.0])}
    assert np.array_equal(img, np.rint(values * (255 / np.array([4095, 4095, 4095, 63]))))
    assert img[..., 3].max() > 240
    paths = [str(tmp_path / 'a.tif')]
    assert find_levels(4095, paths, 'x', 4) == given_levels(4095)
    found = find_levels('auto', paths, 'x', 4)
    assert given_levels(found) == found
    np.save(tmp_path / 'b.npy', np.full((*SHAPE, 4), np.nan))
    with pytest.raises(UnreadableImage, match='b.npy.*not finite'):
        read_bands(str(tmp_path / 'b.npy'), 4)


def test_a_pack_of_many_bands(tmp_path):
    (tmp_path / 'images').mkdir()
    np.save(tmp_path / 'images/a.npy', bands(5))
    with pytest.raises(UserError, match='holds no image'):
        pack_images(str(tmp_path / 'images'), str(tmp_path / 'a.tar'))
    pack_images(str(tmp_path / 'images'), str(tmp_path / 'a.tar'), channels=5)
    dataset = UnlabeledImages(data_root=str(tmp_path / 'a.tar'), pipeline=load(5))
    assert np.array_equal(dataset[0]['img'], bands(5))


def test_measured(tmp_path):
    values = np.stack([bands(4, seed) for seed in range(3)])
    for i, each in enumerate(values):
        np.save(tmp_path / f'{i}.npy', each)
    mean, std = measure([str(p) for p in tmp_path.iterdir()], 4, {})
    pixels = values.reshape(-1, 4)
    assert np.allclose(mean, pixels.mean(0), atol=1e-3)
    assert np.allclose(std, pixels.std(0), atol=1e-3)
    np.save(tmp_path / '0.npy', np.zeros((3, 3, 2), np.uint8))
    assert measure([str(tmp_path / '0.npy')], 2, {}) == ([0, 0], [1, 1])


STEPS = ColorParams(jitter=(('contrast', 0.6), ('brightness', 1.3)), blur_sigma=0.8, solarize=200)


@pytest.mark.parametrize('number', [1, 4])
def test_color_operations_change_each_band_by_itself(number):
    values = bands(number, high=150)
    changed = apply_color(values, STEPS)
    assert changed.shape == values.shape and changed.dtype == np.uint8
    for band in range(number):
        as_gray = apply_color(np.repeat(values[..., band : band + 1], 3, -1), STEPS)
        assert np.array_equal(changed[..., band], as_gray[..., 0])
    views = torch.from_numpy(values).permute(2, 0, 1)[None]
    on_device = batch_color(views, STEPS.row()[None])[0].permute(1, 2, 0).numpy()
    assert np.median(abs(on_device - changed)) <= 1  # solarize turns over what is rounded


@pytest.mark.parametrize(
    'params', [ColorParams(grayscale=True), ColorParams(jitter=(('hue', 0.1),))]
)
def test_color_operations_of_rgb_alone_are_refused(params):
    with pytest.raises(UserError, match='RandomColor'):
        apply_color(bands(4), params)
    with pytest.raises(UserError, match='RandomColor'):
        batch_color(torch.zeros(2, 4, 8, 8), np.stack([params.row()] * 2))
    with pytest.raises(UserError, match='RandomColor'):
        RandomColor(hue=0.2, jitter_prob=1.0).transform(dict(img=bands(4)))


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'nearest', 'lanczos'])
@pytest.mark.parametrize('number', [1, 2, 5])
def test_crops_of_any_number_of_bands(number, interpolation):
    from dense_ssl.datasets.transforms.geometry import resize

    values = bands(number)
    resized = resize(values, (12, 20), interpolation)
    assert resized.shape == (12, 20, number) and resized.dtype == np.uint8
    alone = resize(np.repeat(values[..., :1], 3, -1), (12, 20), interpolation)
    assert abs(resized[..., 0].astype(int) - alone[..., 0]).max() <= 1
