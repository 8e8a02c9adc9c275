"""Where every pixel of a montage comes from."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_ssl.models.montage import (
    MontageAssembler,
    assemble,
    cut_cells,
    draw_cells,
    lay_out_cells,
)
from tests.canonical import rng
from tests.data_paths import shared_fixtures


def numbered(batch: int, size: int, channels: int = 3) -> torch.Tensor:
    """Images whose every value is different."""
    count = batch * channels * size * size
    return torch.arange(count).reshape(batch, channels, size, size)


def reference(images, labels, ratio, step):
    """One pixel after the other."""
    batch, channels, size, _ = images.shape
    side = size // step
    out = torch.full((len(labels), channels, ratio * side, ratio * side), -1)
    for m in range(len(labels)):
        for y in range(ratio * side):
            for x in range(ratio * side):
                cell = (y // side) * ratio + x // side
                image = images[labels[m, cell]]
                out[m, :, y, x] = image[:, (y % side) * step, (x % side) * step]
    return out


@settings(max_examples=30, deadline=None)
@given(
    ratio=st.sampled_from([1, 2, 3, 4]),
    batch=st.integers(1, 7),
    montages=st.integers(1, 3),
    side=st.integers(1, 3),
    direct=st.booleans(),
)
def test_every_pixel_has_its_origin(ratio, batch, montages, side, direct):
    size = side if direct else side * ratio
    images = numbered(batch, size)
    out, labels = MontageAssembler(ratio)(images, montages, montage_size=side * ratio)
    assert labels.shape == (montages, ratio**2)
    assert labels.dtype == torch.int64
    assert torch.equal(out, reference(images, labels, ratio, 1 if direct else ratio))


@settings(max_examples=50, deadline=None)
@given(batch=st.integers(1, 40), cells=st.integers(1, 200))
def test_images_are_drawn_equally_often(batch, cells):
    drawn = draw_cells(batch, cells).bincount(minlength=batch)
    assert drawn.sum() == cells
    assert drawn.max() <= ceil(cells / batch)
    assert drawn.min() >= cells // batch


def test_draw_is_random_and_repeatable():
    draws = [draw_cells(64, 64, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], torch.arange(64))


def test_global_generator_is_the_default():
    torch.manual_seed(3)
    first = MontageAssembler(2)(numbered(5, 4), 2)[1]
    torch.manual_seed(3)
    assert torch.equal(first, MontageAssembler(2)(numbered(5, 4), 2)[1])


def test_cut_is_the_inverse_of_layout():
    cells = torch.randn(3 * 16, 5, 2, 7)
    maps = lay_out_cells(cells, 4)
    assert maps.shape == (3, 5, 8, 28)
    assert torch.equal(cut_cells(maps, 4), cells)


@pytest.mark.parametrize('tag', ['r2', 'r2_exact'])
def test_released_montages(tag):
    data = np.load(shared_fixtures() / 'mcl.npz')
    n, c, s, b, ratio = data[f'montage/{tag}/config'].tolist()
    axes = [torch.arange(k) for k in (n, c, s, s)]
    images = sum(
        f * a.reshape([-1 if i == j else 1 for j in range(4)])
        for i, (f, a) in enumerate(zip((1000, 500, 20, 1), axes))
    )
    perm = rng(f'mcl.montage.{tag}').permutation(ratio**2 * b)
    labels = torch.from_numpy(perm % n)
    assert np.array_equal(labels, data[f'montage/{tag}/labels'])
    out = assemble(images, labels.view(b, -1), ratio)
    assert np.array_equal(out, data[f'montage/{tag}/out'])


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: MontageAssembler(4)(numbered(2, 6), 1), 'multiple of 4'),
        (lambda: MontageAssembler(2)(numbered(2, 6), 0), 'cannot be filled'),
        (lambda: MontageAssembler(2)(numbered(2, 6)[:0], 1), 'cannot be filled'),
        (lambda: MontageAssembler(2)(numbered(2, 6)[..., :4], 1), 'square'),
        (lambda: MontageAssembler(2)(numbered(2, 6), 1, None, 8), 'or 4'),
        (lambda: MontageAssembler(0), 'ratio=0'),
        (lambda: cut_cells(torch.zeros(1, 1, 9, 9), 2), 'view_size'),
    ],
)
def test_bad_sizes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
