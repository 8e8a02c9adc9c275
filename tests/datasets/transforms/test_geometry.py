"""View boxes against pixels, fixtures and torchvision."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from dense_ssl.datasets import (
    GeometricMultiView,
    RandomFlipWithBox,
    RandomResizedCropWithBox,
    crop_to_box,
    flip_box,
)
from tests.data_paths import shared_fixtures
from tests.datasets.images import blobs

sides = st.integers(1, 70)


def seed(value):
    np.random.seed(value)
    torch.manual_seed(value)


def rerender(img, box, size):
    """Make a view again from nothing but its box."""
    height, width = img.shape[:2]
    x1, y1, x2, y2 = box.astype(float)
    left, right = sorted([x1 * (width - 1), x2 * (width - 1)])
    top, bottom = sorted([y1 * (height - 1), y2 * (height - 1)])
    corners = np.array([left, top, right + 1, bottom + 1])
    assert np.abs(corners - corners.round()).max() < 1e-4
    crop = Image.fromarray(img).crop(tuple(corners.round().astype(int)))
    view = crop.resize(size[::-1], Image.Resampling.BILINEAR)
    if x1 > x2:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if y1 > y2:
        view = view.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return np.asarray(view)


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_views_can_be_rendered_again_from_their_boxes(height, width, number, view_h, view_w):
    rng = np.random.default_rng(number)
    img = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    multi_view = GeometricMultiView(
        [
            [
                dict(type='RandomResizedCropWithBox'),
                dict(type='RandomFlipWithBox', prob=0.5, vertical_prob=0.5),
            ],
            [dict(type='RandomResizedCropWithBox', scale=5)],
        ],
        [3, 1],
        view_size=(view_h, view_w),
    )
    seed(number)
    out = multi_view(dict(img=img.copy()))
    boxes = out['view_boxes']
    assert boxes.shape == (4, 4) and boxes.dtype == np.float32
    assert boxes.min() >= 0 and boxes.max() <= 1
    for view, box in zip(out['img'], boxes):
        if view.shape[:2] != (5, 5):
            assert view.shape == (view_h, view_w, 3)
        if box[0] == box[2] or box[1] == box[3]:
            continue  # one pixel: the box cannot tell a flip
        again = rerender(img, box, view.shape[:2]).astype(int)
        assert np.abs(view - again).max() <= 1  # Pillow's rounding


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 200), st.integers(20, 200), st.integers(0, 10**6))
def test_cells_lie_where_the_paper_puts_them(height, width, number):
    """The picture shows coordinates: read them off where a cell should be."""
    y, x = np.mgrid[:height, :width]
    img = np.dstack([x, y, x]).astype(np.uint8)
    crop, flip = RandomResizedCropWithBox(32), RandomFlipWithBox(0.5, 0.5)
    seed(number)
    out = flip(crop(dict(img=img)))
    x1, y1, x2, y2 = out['view_box'] * np.tile([width - 1, height - 1], 2)
    cells = (np.arange(32) + 0.5) / 32
    shown = out['img'].astype(float)
    # Off by up to half a pixel: released boxes end at pixel centres; edges
    # of a resized crop repeat what lies there; values are rounded.
    inner = slice(4, -4)
    tolerance = 0.5 + 0.5 + 1e-3
    assert np.abs(shown[..., 0] - (x1 + cells * (x2 - x1)))[:, inner].max() <= tolerance
    assert np.abs(shown[..., 1] - (y1 + cells * (y2 - y1))[:, None])[inner].max() <= tolerance


def test_boxes_equal_those_of_the_released_code():
    numbers = np.load(shared_fixtures() / 'pixpro.npz')
    for params, expected in zip(
        numbers['crop/params_i_j_h_w_H_W'], numbers['crop/coord_none_h_v_hv']
    ):
        box = crop_to_box(*params.tolist())
        assert box.dtype == np.float32
        for flips, coord in zip([(0, 0), (1, 0), (0, 1), (1, 1)], expected):
            assert np.abs(flip_box(box, *flips) - coord).max() < 1e-7


def test_boxes_by_hand():
    # columns 2..5 and rows 1..3 of an image of 11 x 5 pixels
    box = crop_to_box(1, 2, 3, 4, 5, 11)
    assert np.allclose(box, [0.2, 0.25, 0.5, 0.75])
    assert np.allclose(flip_box(box, horizontal=True), [0.5, 0.25, 0.2, 0.75])
    assert np.allclose(flip_box(box, vertical=True), [0.2, 0.75, 0.5, 0.25])
    assert np.allclose(flip_box(flip_box(box, True, True), True, True), box)


def test_an_axis_of_one_pixel_spans_the_whole():
    assert crop_to_box(3, 0, 4, 1, 10, 1).tolist() == pytest.approx([0, 1 / 3, 1, 2 / 3])
    assert crop_to_box(0, 0, 1, 1, 1, 1).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (300, 1), (2, 2)])
def test_very_small_images_give_views(shape):
    pipeline = GeometricMultiView(
        [[dict(type='RandomResizedCropWithBox'), dict(type='RandomFlipWithBox')]], [2], view_size=16
    )
    img = blobs()[: shape[0], :1].repeat(shape[1], 1)
    img = np.resize(img, (*shape, 3))
    out = pipeline(dict(img=img))
    assert all(view.shape == (16, 16, 3) for view in out['img'])
    assert np.isfinite(out['view_boxes']).all()


class TestCropAsTorchvision:
    @pytest.mark.parametrize('shape', [(100, 10), (10, 100), (1, 50), (50, 1)])
    def test_central_crop_when_nothing_fits(self, shape):
        crop = RandomResizedCropWithBox(8, crop_ratio_range=(1, 1))
        image = torch.zeros(3, *shape)
        expected = RandomResizedCrop.get_params(image, (1.0, 1.0), (3 / 4, 4 / 3))
        assert crop.rand_crop_params(np.zeros((*shape, 3))) == expected

    @pytest.mark.parametrize('low, shape', [(0.08, (48, 64)), (0.2, (60, 33))])
    def test_distribution(self, low, shape):
        seed(0)
        crop = RandomResizedCropWithBox(8, crop_ratio_range=(low, 1.0))
        image = torch.zeros(3, *shape)
        number = 4000
        ours = np.array([crop.rand_crop_params(np.zeros((*shape, 3))) for _ in range(number)])
        theirs = np.array(
            [RandomResizedCrop.get_params(image, (low, 1.0), (3 / 4, 4 / 3)) for _ in range(number)]
        )
        for column in [*range(4), 'area', 'aspect']:
            a, b = (
                dict(area=x[:, 2] * x[:, 3], aspect=x[:, 3] / x[:, 2])[column]
                if isinstance(column, str)
                else x[:, column]
                for x in (ours, theirs)
            )
            grid = np.unique(np.concatenate([a, b]))
            gap = (
                np.abs(
                    np.searchsorted(np.sort(a), grid, 'right')
                    - np.searchsorted(np.sort(b), grid, 'right')
                ).max()
                / number
            )
            assert gap < 1.95 * math.sqrt(2 / number)  # p = 0.001

    @pytest.mark.parametrize(
        'mode, off', [('bilinear', 1), ('bicubic', 1), ('nearest', 0), ('lanczos', 0)]
    )
    def test_pixels(self, mode, off):
        img = blobs(90, 70)
        crop = RandomResizedCropWithBox((31, 24), interpolation=mode)
        for number in range(20):
            seed(number)
            view = crop(dict(img=img))['img']
            seed(number)
            params = crop.rand_crop_params(img)
            expected = F.resized_crop(
                Image.fromarray(img), *params, (31, 24), F.InterpolationMode(mode)
            )
            gap = np.abs(view - np.asarray(expected).astype(int))
            assert gap.max() <= off and gap.mean() < 0.05


def test_flip_probabilities():
    seed(0)
    flip = RandomFlipWithBox(prob=0.3, vertical_prob=0.6)
    drawn = np.array([flip.draw() for _ in range(4000)])
    assert np.abs(drawn.mean(0) - [0.3, 0.6]).max() < 0.03
    assert abs(drawn.all(1).mean() - 0.18) < 0.03  # independent


@pytest.mark.parametrize('name', ['prob', 'vertical_prob'])
def test_flip_refuses_what_is_no_probability(name):
    with pytest.raises(ValueError, match=name):
        RandomFlipWithBox(**{name: 1.5})


class TestMultiView:
    def test_views_are_drawn_independently(self):
        multi_view = GeometricMultiView([[dict(type='RandomResizedCropWithBox')]], 2, view_size=8)
        seed(0)
        boxes = multi_view(dict(img=blobs()))['view_boxes']
        assert (boxes[0] != boxes[1]).any()

    def test_no_view_may_write_into_the_shared_image(self):

        def spoil(results):
            results['img'][:] = 0
            return results

        multi_view = GeometricMultiView(
            [[spoil, dict(type='RandomResizedCropWithBox', scale=8)]], [2]
        )
        with pytest.raises(ValueError, match='read-only'):
            multi_view(dict(img=blobs().copy()))

    def test_a_crop_needs_a_size(self):
        with pytest.raises(ValueError, match='view_size'):
            GeometricMultiView([[dict(type='RandomResizedCropWithBox')]], [2])

    def test_a_view_needs_a_box(self):
        multi_view = GeometricMultiView(
            [[dict(type='RandomResizedCropWithBox', scale=8)], [dict(type='Resize', scale=(8, 8))]],
            [1, 1],
        )
        with pytest.raises(ValueError, match=r'view_box.*\[1\]'):
            multi_view(dict(img=blobs()))

    def test_the_config_it_was_built_from_stays_as_it_was(self):
        crop = dict(type='RandomResizedCropWithBox')
        GeometricMultiView([[crop]], [2], view_size=8)
        assert crop == dict(type='RandomResizedCropWithBox')
