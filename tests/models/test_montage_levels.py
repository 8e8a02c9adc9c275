"""One side's batch, level after level."""

import pytest
import torch

from dense_ssl.models.montage import assemble
from dense_ssl.models.montage_levels import MontageLevels

RELEASED = ((1, 2, 4, 8), (1, 1 / 4, 1 / 16, 1 / 32), (3, 2, 1, 0))


@pytest.mark.parametrize(
    'batch, counts',
    [
        (128, (128, 32, 8, 4)),
        (100, (100, 25, 6, 3)),
        (5, (5, 1, 1, 1)),
        (1, (1, 1, 1, 1)),
    ],
)
def test_counts_never_reach_zero(batch, counts):
    assert MontageLevels(*RELEASED).counts(batch) == counts


@pytest.mark.parametrize('direct', [False, True])
def test_levels_hold_their_own_view(direct):
    levels = MontageLevels(*RELEASED)
    views = [torch.randn(6, 3, *[16 // r if direct else 16] * 2) for r in levels.ratios]
    side = levels(views)
    assert side.counts == (6, 1, 1, 1)
    assert torch.equal(side.images[:6], views[0])
    assert torch.equal(side.labels[0], torch.arange(6))
    for level in (1, 2, 3):
        ratio = levels.ratios[level]
        labels = side.labels[level].view(1, ratio**2)
        expected = assemble(views[level], labels, ratio, 16)
        assert torch.equal(side.images[5 + level], expected[0])


def test_levels_and_sides_draw_anew():
    levels = MontageLevels((1, 2, 4), (1, 4, 1), (2, 1, 0))
    views = [torch.zeros(16, 3, 8, 8)] * 3
    generator = torch.Generator().manual_seed(0)
    first, second = levels(views, generator), levels(views, generator)
    assert not torch.equal(first.labels[1][:16], first.labels[2])
    assert not torch.equal(first.labels[2], second.labels[2])
    again = levels(views, torch.Generator().manual_seed(0))
    assert all(map(torch.equal, first.labels, again.labels))


@pytest.mark.parametrize(
    'args, message',
    [
        (((1, 2), (1,), (1, 0)), 'one entry for each'),
        (((2, 4), (1, 1), (1, 0)), 'plain images'),
        (((1, 2), (1 / 2, 1), (1, 0)), 'plain images'),
        (((1, 2), (1, 0), (1, 0)), 'cannot be filled'),
        (((1, 2), (1, 1), (0, 1)), 'descend'),
        (((1, 2), (1, 1), (0, -1)), 'negative'),
    ],
)
def test_bad_levels_are_explained(args, message):
    with pytest.raises(ValueError, match=message):
        MontageLevels(*args)


def test_wrong_views_are_explained():
    levels = MontageLevels((1, 2), (1, 1), (1, 0))
    with pytest.raises(ValueError, match='num_views'):
        levels([torch.zeros(2, 3, 8, 8)])
    with pytest.raises(ValueError, match=r'\(direct\)'):
        levels([torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 6, 6)])
