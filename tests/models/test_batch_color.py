"""Colors of a batch against the workers' operations, one view at a time."""

import numpy as np
import pytest
import torch
from mmpretrain.datasets import PackInputs
from mmpretrain.structures import DataSample

from dense_ssl.color_params import COLOR_PARAMS, JITTER
from dense_ssl.datasets import ColorParams, GeometricMultiView, RandomColor, apply_color
from dense_ssl.models.batch_color import batch_color, blur_kernel
from dense_ssl.models.data_preprocessor import DenseDataPreprocessor
from tests.datasets.images import blobs

RECIPE = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)


def pictures(number, size=48):
    """Smooth pictures with some noise, uint8 (N, 3, H, W)."""
    rng = np.random.default_rng(0)
    images = [
        np.clip(blobs(size, size, i) + rng.normal(0, 4, (size, size, 3)), 0, 255).astype(np.uint8)
        for i in range(number)
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def one_by_one(views, params):
    """The workers' way."""
    out = [apply_color(v.permute(1, 2, 0).numpy(), p) for v, p in zip(views, params)]
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float()


def difference(params, views=None):
    """Largest and mean difference on the scale 0..255, (N, ) each."""
    views = pictures(len(params)) if views is None else views
    table = np.stack([p.row() for p in params])
    gap = (batch_color(views, table) - one_by_one(views, params)).abs()
    return gap.flatten(1).amax(1), gap.mean((1, 2, 3))


@pytest.mark.parametrize(
    'name, factors, largest, mean',
    [
        ('brightness', (0.6, 0.9, 1.4), 1, 0.6),
        ('contrast', (0.6, 0.9, 1.4), 1, 0.6),
        ('saturation', (0.6, 0.9, 1.4), 2, 0.8),
        # Pillow keeps hue and shift in 256 steps, each up to 6 levels.
        ('hue', (-0.1, 0.03, 0.1), 16, 1.4),
    ],
)
def test_one_operation(name, factors, largest, mean):
    worst, average = difference([ColorParams(((name, f),)) for f in factors])
    assert worst.max() <= largest and average.max() <= mean
    # and something was done at all
    views = pictures(len(factors))
    table = np.stack([ColorParams(((name, f),)).row() for f in factors])
    moved = (batch_color(views, table) - views).abs().mean((1, 2, 3))
    assert (moved > 3 * average).all()


def test_hue_against_the_standard_library():
    import colorsys

    views = torch.rand(2, 3, 5, 7) * 255
    views[1, 1] = views[1, 0]  # two channels alike
    views[0, :, 0] = 100.0  # gray has no hue
    shifts = (0.07, -0.4)
    table = np.stack([ColorParams((('hue', s),)).row() for s in shifts])
    got = batch_color(views, table)
    for view, new, shift in zip(views, got, shifts):
        for y in range(5):
            for x in range(7):
                h, s, v = colorsys.rgb_to_hsv(*(view[:, y, x] / 255).tolist())
                want = colorsys.hsv_to_rgb((h + shift) % 1, s, v)
                assert np.allclose(new[:, y, x] / 255, want, atol=1e-5)


def test_gray_and_solarize():
    views = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(3, 3, 16, 16)
    params = [ColorParams(solarize=128), ColorParams(), ColorParams(solarize=40)]
    assert difference(params, views)[0].max() == 0
    assert difference([ColorParams(grayscale=True), ColorParams()])[0].max() <= 1


@pytest.mark.parametrize('sigma', [0.1, 0.4, 0.8, 1.1, 1.5, 2.0, 3.7])
def test_blur_is_pillows(sigma):
    # 1 in the middle: rounding of six passes; borders repeat between passes
    params = [ColorParams(blur_sigma=sigma), ColorParams(), ColorParams(blur_sigma=0.7)]
    views = pictures(3)
    table = np.stack([p.row() for p in params])
    gap = (batch_color(views, table) - one_by_one(views, params)).abs()
    radius = blur_kernel(np.array([sigma])).shape[1] // 2
    inner = gap[..., radius:-radius, radius:-radius]
    assert inner.max() <= 3 and gap.max() <= 12 and gap.mean() < 0.9
    assert (gap[1] == 0).all()


def test_blur_kernel_has_this_sigma():
    for sigma in (0.1, 0.5, 1.0, 2.0, 5.0):
        kernel = blur_kernel(np.array([sigma, 6.0]))[0].astype(float)
        place = np.arange(len(kernel)) - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        assert (kernel * place**2).sum() == pytest.approx(sigma**2, rel=1e-4)


@pytest.mark.parametrize('seed', range(3))
def test_drawn_parameters_in_any_order(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    transform = RandomColor(**RECIPE, blur_prob=0.5)
    worst, average = difference([transform.draw() for _ in range(24)])
    assert average.max() < 3 and average.mean() < 1.6
    assert worst.median() <= 10


def test_nothing_to_do_copies():
    views = pictures(2).float()
    before = views.clone()
    table = np.stack([ColorParams().row()] * 2)
    out = batch_color(views, table)
    assert torch.equal(out, views)
    table = np.stack([ColorParams((('brightness', 0.0),)).row()] * 2)
    assert (batch_color(views, table) == 0).all()
    assert torch.equal(views, before)
    assert torch.equal(batch_color(views.byte(), table), batch_color(views, table))


def test_half_precision_context_changes_nothing():
    views = pictures(2)
    params = ColorParams((('contrast', 0.7), ('hue', 0.05)), True, 1.2, 99)
    table = np.stack([params.row(), ColorParams(blur_sigma=2.0).row()])
    expected = batch_color(views, table)
    with torch.autocast('cpu', torch.bfloat16):
        out = batch_color(views, table)
    assert out.dtype == torch.float32 and torch.equal(out, expected)


class TestInTheRecipe:
    """From the pipeline to the normalised batch."""

    MEAN, STD = [120.0, 110.0, 100.0], [50.0, 60.0, 70.0]

    @staticmethod
    def views(on_device, seed=0, count=6):
        color = dict(type='RandomColor', **RECIPE, blur_prob=0.5, on_device=on_device)
        crop = dict(type='RandomResizedCropWithBox', scale=32)
        flip = dict(type='RandomFlipWithBox', prob=0.5, vertical_prob=0.5)
        plain = [crop, flip]
        pipeline = GeometricMultiView(
            [
                [crop, color, flip],
                [crop, flip, dict(color, grayscale_prob=1.0, jitter_prob=0.0)],
                plain,
            ],
            [1, 1, 1],
        )
        np.random.seed(seed)
        torch.manual_seed(seed)
        return [pipeline(dict(img=blobs(90, 70, i).copy())) for i in range(count)]

    def batch(self, on_device):
        results = self.views(on_device)
        samples = []
        for r in results:
            sample = DataSample()
            sample.set_field(r['view_boxes'], 'view_boxes')
            if on_device:
                assert r['view_colors'].shape == (3,)
                sample.set_field(r['view_colors'], 'view_colors')
            else:
                assert 'view_colors' not in r
            samples.append(sample)
        inputs = [
            torch.from_numpy(np.stack([r['img'][v] for r in results])).permute(0, 3, 1, 2)
            for v in range(3)
        ]
        return DenseDataPreprocessor(self.MEAN, self.STD)(dict(inputs=inputs, data_samples=samples))

    def test_same_views_either_way(self):
        device, worker = self.batch(True), self.batch(False)
        for a, b in zip(device['data_samples'], worker['data_samples']):
            assert torch.equal(a.view_boxes, b.view_boxes)
        for a, b in zip(device['inputs'], worker['inputs']):
            gap = ((a - b) * torch.tensor(self.STD)[:, None, None]).abs()
            assert gap.mean() < 1.5 and gap.flatten(1).mean(1).max() < 4
        assert torch.equal(device['inputs'][2], worker['inputs'][2])
        std = torch.tensor(self.STD)[:, None, None]
        mean = torch.tensor(self.MEAN)[:, None, None]
        gray = device['inputs'][1] * std + mean
        assert torch.allclose(gray[:, 0], gray[:, 2], atol=1e-3)

    def test_only_flips_may_follow(self):
        color = dict(type='RandomColor', on_device=True)
        crop = dict(type='RandomResizedCropWithBox', scale=8)
        with pytest.raises(ValueError, match='RandomResizedCropWithBox fol'):
            GeometricMultiView([[color, crop]], [2])


def test_rows_say_what_the_parameters_say():
    row = ColorParams((('hue', 0.1), ('contrast', 1.2)), True, None, 99).row()
    assert row.dtype == COLOR_PARAMS and row.shape == ()
    assert [JITTER[i] for i in row['operation'] if i >= 0] == ['hue', 'contrast']
    assert row['factor'] == pytest.approx([0.1, 1.2, 1, 1])
    assert row['grayscale'] and row['blur_sigma'] == 0 and row['solarize_threshold'] == 99
    nothing = ColorParams().row()
    assert (nothing['operation'] == -1).all() and not nothing['grayscale']
    assert np.isinf(nothing['solarize_threshold'])


def test_the_samples_may_have_the_old_key():
    results = TestInTheRecipe.views(True, count=1)[0]
    packed = PackInputs(algorithm_keys=('view_boxes', 'view_colours'))(results)
    sample = packed['data_samples']
    assert 'view_colors' not in sample
    views = [view[None] for view in packed['inputs']]
    out = DenseDataPreprocessor()(dict(inputs=views, data_samples=[sample]))['inputs']
    for i, view in enumerate(views):
        assert torch.equal(out[i], batch_color(view, sample.view_colours[i : i + 1]))
