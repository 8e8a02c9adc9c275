"""Color operations against torchvision, formulas and a slow blur."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import ColorJitter, RandomGrayscale

from dense_ssl import datasets
from dense_ssl.datasets import ColorParams, RandomColor, apply_color
from dense_ssl.registry import DATASETS, TRANSFORMS
from tests.datasets.images import blobs

IMG = blobs()
JITTER = dict(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
DRAWS = 2000


def seed(value):
    np.random.seed(value)
    torch.manual_seed(value)


def draw_many(**kwargs):
    seed(0)
    transform = RandomColor(**JITTER, **kwargs)
    return [transform.draw() for _ in range(DRAWS)]


def test_jitter_is_torchvisions():
    transform = RandomColor(**JITTER, jitter_prob=1.0, grayscale_prob=0.0)
    for number in range(20):
        seed(number)
        ours = transform(dict(img=IMG))['img']
        seed(number)
        theirs = ColorJitter(**JITTER)(Image.fromarray(IMG))
        assert (ours == np.asarray(theirs)).all()
        assert (ours != IMG).any()


def test_gray_is_torchvisions():
    ours = apply_color(IMG, ColorParams(grayscale=True))
    theirs = RandomGrayscale(1.0)(Image.fromarray(IMG))
    assert (ours == np.asarray(theirs)).all()
    assert np.abs(ours[..., 0] - IMG @ [0.299, 0.587, 0.114]).max() <= 1


def test_solarize_inverts_bright_values_last():
    ours = apply_color(IMG, ColorParams(solarize=128))
    assert (ours == np.where(IMG >= 128, 255 - IMG, IMG)).all()
    assert {127, 128} <= set(IMG.ravel().tolist())  # the threshold is tested
    both = apply_color(IMG, ColorParams(solarize=128, grayscale=True, blur_sigma=1.5))
    before = apply_color(IMG, ColorParams(grayscale=True, blur_sigma=1.5))
    assert (both == np.where(before >= 128, 255 - before, before)).all()


@pytest.mark.parametrize('sigma', [0.5, 1.0, 2.0])
def test_blur_is_gaussian_with_this_sigma(sigma):
    """Pillow's blur is three box filters: right in width, near in shape."""
    taps = np.arange(-10, 11)
    kernel = np.exp(-(taps**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = np.pad(IMG.astype(float), ((10, 10), (10, 10), (0, 0)), 'edge')
    slow = np.zeros(IMG.shape)
    for i, a in enumerate(kernel):
        for j, b in enumerate(kernel):
            slow += a * b * padded[i : i + IMG.shape[0], j : j + IMG.shape[1]]
    ours = apply_color(IMG, ColorParams(blur_sigma=sigma))
    assert np.abs(ours - slow).max() <= 4

    dot = np.zeros((41, 41, 3), np.uint8)
    dot[:, 20] = 255
    line = apply_color(dot, ColorParams(blur_sigma=sigma))[20, :, 0] / 255.0
    variance = (line * (np.arange(41) - 20) ** 2).sum() / line.sum()
    assert variance == pytest.approx(sigma**2, rel=0.12)


def test_jitter_comes_before_gray_and_blur_before_solarize():
    jitter = (('saturation', 0.0), ('brightness', 1.3))
    params = ColorParams(jitter, True, 1.0, 128)
    one_by_one = IMG
    for step in (
        ColorParams(jitter[:1]),
        ColorParams(jitter[1:]),
        ColorParams(grayscale=True),
        ColorParams(blur_sigma=1.0),
        ColorParams(solarize=128),
    ):
        one_by_one = apply_color(one_by_one, step)
    assert (apply_color(IMG, params) == one_by_one).all()


def test_nothing_to_do_changes_nothing():
    assert (apply_color(IMG, ColorParams()) == IMG).all()


def test_probabilities():
    drawn = draw_many(
        jitter_prob=0.8, grayscale_prob=0.2, blur_prob=0.1, solarize_prob=0.3, solarize_threshold=99
    )
    done = np.array(
        [(bool(p.jitter), p.grayscale, p.blur_sigma is not None, p.solarize == 99) for p in drawn]
    )
    expected = np.array([0.8, 0.2, 0.1, 0.3])
    bound = 4 * np.sqrt(expected * (1 - expected) / DRAWS)
    assert (np.abs(done.mean(0) - expected) < bound).all()
    # independent of each other
    assert np.abs(np.corrcoef(done.T) - np.eye(4)).max() < 4 / DRAWS**0.5


def test_strengths_are_uniform_and_their_order_random():
    drawn = draw_many(jitter_prob=1.0, blur_prob=1.0, blur_sigma=(0.1, 2.0))
    factors = {name: [] for name in JITTER}
    for params in drawn:
        for name, factor in params.jitter:
            factors[name].append(factor)
    ranges = dict(
        brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.8, 1.2), hue=(-0.1, 0.1)
    )
    values = [(factors[name], ranges[name]) for name in JITTER]
    values.append(([p.blur_sigma for p in drawn], (0.1, 2.0)))
    for value, (low, high) in values:
        assert len(value) == DRAWS
        share = (np.sort(value) - low) / (high - low)
        uniform = (np.arange(DRAWS) + 0.5) / DRAWS
        assert np.abs(share - uniform).max() < 1.95 / DRAWS**0.5  # p = 0.001
    orders = [tuple(name for name, _ in p.jitter) for p in drawn]
    assert len(set(orders)) == 24
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert counts.max() < 2 * counts.min()


def test_strength_zero_is_left_out():
    transform = RandomColor(brightness=0.4, jitter_prob=1.0)
    assert [name for name, _ in transform.draw().jitter] == ['brightness']


@pytest.mark.parametrize(
    'kwargs, word',
    [
        (dict(jitter_prob=1.2), 'jitter_prob'),
        (dict(blur_prob=-0.1), 'blur_prob'),
        (dict(blur_sigma=(2.0, 0.1)), 'blur_sigma'),
        (dict(hue=0.7), 'hue'),
    ],
)
def test_arguments_that_make_no_sense(kwargs, word):
    with pytest.raises(ValueError, match=word):
        RandomColor(**kwargs)


def test_old_names():
    old = dict(grey_prob=0.3, solarise_prob=0.1, solarise_threshold=9)
    with pytest.warns(DeprecationWarning, match='grey_prob is now called grayscale_prob'):
        transform = TRANSFORMS.build(dict(type='RandomColour', grayscale_prob=0.0, **old))
    assert type(transform) is RandomColor
    assert transform.probs['grayscale_prob'] == 0.3 and transform.probs['solarize_prob'] == 0.1
    assert transform.solarize_threshold == 9
    assert DATASETS.get('UnlabelledImages') is datasets.UnlabeledImages
    for old, new in dict(
        RandomColour='RandomColor',
        ColourParams='ColorParams',
        UnlabelledImages='UnlabeledImages',
        apply_colour='apply_color',
    ).items():
        with pytest.warns(DeprecationWarning, match=f'{old} is now called {new}'):
            assert getattr(datasets, old) is getattr(datasets, new)
    with pytest.raises(AttributeError, match='Blur'):
        getattr(datasets, 'Blur')  # noqa: B009
