"""Losses over pairs of cells, against plain loops and released numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_ssl.models.correspondence import GeometricCorrespondence, ViewMap
from dense_ssl.models.heads import PixelConsistencyHead, PixelContrastHead
from dense_ssl.models.losses import unit_cells
from tests.canonical import normal, unit
from tests.data_paths import shared_fixtures

COORDINATE = st.floats(0, 1, width=32)
BOX = st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE)
SIZE = st.tuples(st.integers(1, 4), st.integers(1, 4))
# Relations of two views that a random pair of boxes seldom has.
RELATED = st.sampled_from(
    [
        ((0.2, 0.1, 0.8, 0.7), (0.2, 0.1, 0.8, 0.7)),  # identical
        ((0.2, 0.1, 0.8, 0.7), (0.8, 0.1, 0.2, 0.7)),  # mirrored
        ((0.2, 0.1, 0.8, 0.7), (0.8, 0.7, 0.2, 0.1)),  # mirrored both ways
        ((0.0, 0.0, 1.0, 1.0), (0.4, 0.4, 0.6, 0.6)),  # nested
        ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5)),  # touching
        ((0.0, 0.0, 0.3, 0.3), (0.7, 0.7, 1.0, 1.0)),  # disjoint
        ((0.1, 0.1, 0.9, 0.9), (0.5, 0.5, 0.5001, 0.5001)),  # tiny
        ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)),  # no extent at all
        ((0.0, 0.2, 1.0, 0.2), (0.0, 0.2, 1.0, 0.2)),  # one pixel high
    ]
)
TAU = 0.3


def cells(box, size):
    """Centres of the cells, row by row."""
    x1, y1, x2, y2 = box
    h, w = size
    return [
        (x1 + (j + 0.5) * (x2 - x1) / w, y1 + (i + 0.5) * (y2 - y1) / h)
        for i in range(h)
        for j in range(w)
    ]


def diagonal(box, size):
    return math.sqrt(((box[2] - box[0]) / size[1]) ** 2 + ((box[3] - box[1]) / size[0]) ** 2)


def slow_pairs(a, b, size_a, size_b, radius):
    """Pairs of one image, and how near the closest call is."""
    longest = max(diagonal(a, size_a), diagonal(b, size_b))
    pairs, margin = [], math.inf
    for p in cells(a, size_a):
        row = []
        for q in cells(b, size_b):
            distance = math.dist(p, q) / longest if longest else math.inf
            row.append(distance < radius)
            margin = min(margin, abs(distance - radius))
        pairs.append(row)
    return pairs, margin


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_consistency(q, k, pairs):
    """Mean over images of the mean cosine of the pairs, times -2.

    q, k: nested lists [image][cell][channel].
    """
    total = 0.0
    for image in range(len(q)):
        values = [
            cosine(q[image][i], k[image][j])
            for i in range(len(q[image]))
            for j in range(len(k[image]))
            if pairs[image][i][j]
        ]
        total += sum(values) / (len(values) + 1e-6)
    return -2 * total / len(q)


def slow_contrast(q, k, pairs):
    """Equation of the paper, cell by cell, halved for one direction."""
    total = 0.0
    for image in range(len(q)):
        losses = []
        for i in range(len(q[image])):
            weights = [math.exp(cosine(q[image][i], key) / TAU) for key in k[image]]
            positive = [w for w, pair in zip(weights, pairs[image][i]) if pair]
            if positive:
                losses.append(-math.log(sum(positive) / sum(weights)))
        total += sum(losses) / len(losses) if losses else 0.0
    return 0.5 * total / len(q)


HEADS = [(PixelConsistencyHead(), slow_consistency), (PixelContrastHead(TAU), slow_contrast)]


def as_lists(x):
    return x.flatten(2).transpose(1, 2).tolist()


def numeric_gradient(loss, q, k, pairs, entries, eps=1e-6):
    """Central differences of the plain loops at some entries of q."""
    out = []
    for n, c, i in entries:
        values = []
        for sign in (1, -1):
            shifted = q.clone()
            shifted.view(*q.shape[:2], -1)[n, c, i] += sign * eps
            values.append(loss(as_lists(shifted), as_lists(k), pairs))
        out.append((values[0] - values[1]) / (2 * eps))
    return out


@given(
    first=st.one_of(st.tuples(BOX, BOX), RELATED),
    second=st.one_of(st.tuples(BOX, BOX), RELATED),
    size_a=SIZE,
    size_b=SIZE,
    radius=st.sampled_from([0.3, 0.7, 1.3]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_plain_loops(first, second, size_a, size_b, radius, seed):
    slow = [slow_pairs(a, b, size_a, size_b, radius) for a, b in (first, second)]
    if min(margin for _, margin in slow) < 1e-9:
        return  # a tie: rounding decides
    torch.manual_seed(seed)
    q = torch.randn(2, 3, *size_a, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, 3, *size_b, dtype=torch.float64)
    boxes_a, boxes_b = (torch.tensor(b, dtype=torch.float64) for b in zip(first, second))
    pairs = GeometricCorrespondence(radius).pairs(ViewMap(q, boxes_a), ViewMap(k, boxes_b))
    want = [p for p, _ in slow]
    assert pairs.tolist() == want
    entries = [(n, n, s) for n in (0, 1) for s in {0, size_a[0] * size_a[1] - 1}]
    for head, loops in HEADS:
        loss = head.loss(unit_cells(q), unit_cells(k), pairs)
        assert loss.item() == pytest.approx(
            loops(as_lists(q.detach()), as_lists(k), want), rel=1e-9, abs=1e-12
        )
        (gradient,) = torch.autograd.grad(loss, q)
        numeric = numeric_gradient(loops, q.detach(), k, want, entries)
        for (n, c, i), number in zip(entries, numeric):
            assert gradient.flatten(2)[n, c, i].item() == pytest.approx(number, rel=1e-4, abs=1e-7)
        for n in (0, 1):
            if not pairs[n].any():
                assert (gradient[n] == 0).all()


@pytest.mark.parametrize('head', [h for h, _ in HEADS])
def test_gradient_of_autograd(head):
    torch.manual_seed(0)
    positive = torch.rand(3, 4, 6) < 0.3
    positive[0, 1] = False
    positive[1] = False
    a = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, 6, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: head.loss(x, b, positive), a)


@pytest.mark.parametrize('head', [h for h, _ in HEADS])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_nothing_in_common(head, dtype):
    """A batch without overlap: exactly zero, and so are the gradients."""
    x = torch.randn(2, 8, 3, 4, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype != torch.float32):
        loss = head.loss(
            unit_cells(x.to(dtype)),
            unit_cells(torch.randn(2, 8, 2, 2).to(dtype)),
            torch.zeros(2, 12, 4, dtype=torch.bool),
        )
    assert loss.dtype == torch.float32 and loss.item() == 0
    loss.backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize('head', [h for h, _ in HEADS])
def test_float32_under_autocast(head):
    torch.manual_seed(0)
    positive = torch.rand(2, 9, 9) < 0.3
    x, y = torch.randn(2, 2, 8, 3, 3).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        half = head.loss(unit_cells(x), unit_cells(y), positive)
    full = head.loss(unit_cells(x.double()), unit_cells(y.double()), positive)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=1e-5)


def test_bounds():
    """Equal cells: each direction of PixPro's loss is at its minimum, -2."""
    cell = torch.nn.functional.normalize(torch.randn(2, 1, 8), dim=2)
    cells = cell.expand(-1, 30, -1)
    everything = torch.ones(2, 30, 30, dtype=torch.bool)
    loss = PixelConsistencyHead().loss(cells, cells, everything)
    assert loss.item() == pytest.approx(-2, abs=1e-5)
    # all pairs positive: nothing to tell apart
    assert PixelContrastHead().loss(cells, cells, everything).item() == 0


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match='temperature=0'):
        PixelContrastHead(temperature=0)


def test_numbers_of_the_released_code():
    with np.load(shared_fixtures() / 'pixpro.npz') as z:
        prefixes = sorted(
            {k.rsplit('/', 1)[0] for k in z.files if k.startswith('loss/') and k.endswith('/loss')}
        )
        assert len(prefixes) >= 5
        for prefix in prefixes:
            _, case, radius = prefix.split('/')
            nonsquare = case.startswith('nonsquare57')
            shape = (4, 16, 5, 7) if nonsquare else (4, 16, 7, 7)
            q, k = (unit(normal(f'pixpro.loss.{x}{"57" * nonsquare}', shape), 1) for x in 'qk')
            boxes = 'flips' if nonsquare else case
            views = [
                ViewMap(x, torch.from_numpy(z[f'loss/{boxes}/coord_{name}']))
                for name, x in (('q', q), ('k', k))
            ]
            positive = GeometricCorrespondence(float(radius[1:])).pairs(*views)
            cells = shape[2] * shape[3]
            mask = np.unpackbits(z[f'{prefix}/mask_packed'], axis=1)[:, : cells**2]
            assert np.array_equal(positive.flatten(1).numpy(), mask.astype(bool)), prefix
            # the released gradient is that of the unit vectors
            a = q.flatten(2).transpose(1, 2).clone().requires_grad_()
            b = k.flatten(2).transpose(1, 2)
            loss = PixelConsistencyHead().loss(a, b, positive)
            # the fixture is one direction, as is the head
            assert loss.item() == pytest.approx(float(z[f'{prefix}/loss']), rel=1e-6, abs=1e-12), (
                prefix
            )
            loss.backward()
            assert torch.allclose(
                a.grad.transpose(1, 2).reshape(shape),
                torch.from_numpy(z[f'{prefix}/grad_q']),
                rtol=1e-6,
                atol=1e-12,
            ), prefix
