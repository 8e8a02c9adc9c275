import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_ssl.models.correspondence import (
    GeometricCorrespondence,
    SimilarityCorrespondence,
    ViewMap,
)
from dense_ssl.models.geometry import cell_axes, cell_distance

coordinate = st.floats(0, 1, width=32)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)
size = st.tuples(st.integers(1, 4), st.integers(1, 4))


def slow_distance(a, b, size_a, size_b):
    """One pair of cells at a time, in Python floats."""

    def cells(v, hw):
        x1, y1, x2, y2 = v
        h, w = hw
        return [
            (x1 + (j + 0.5) * (x2 - x1) / w, y1 + (i + 0.5) * (y2 - y1) / h)
            for i in range(h)
            for j in range(w)
        ]

    def diagonal(v, hw):
        x1, y1, x2, y2 = v
        return math.sqrt(((x2 - x1) / hw[1]) ** 2 + ((y2 - y1) / hw[0]) ** 2)

    unit = max(diagonal(a, size_a), diagonal(b, size_b))
    return [
        [math.dist(p, q) / unit if unit > 0 else math.inf for q in cells(b, size_b)]
        for p in cells(a, size_a)
    ]


@given(a=box, b=box, size_a=size, size_b=size)
@settings(max_examples=150, deadline=None)
def test_distance_equals_the_plain_loops(a, b, size_a, size_b):
    got = cell_distance(
        torch.tensor([a], dtype=torch.float64),
        torch.tensor([b], dtype=torch.float64),
        size_a,
        size_b,
    )
    want = torch.tensor([slow_distance(a, b, size_a, size_b)], dtype=torch.float64)
    assert got.shape == (1, size_a[0] * size_a[1], size_b[0] * size_b[1])
    assert torch.allclose(got, want, rtol=1e-9, atol=1e-12)


def test_flip_mirrors_the_columns():
    plain = torch.tensor([[0.1, 0.2, 0.9, 0.6]])
    flipped = torch.tensor([[0.9, 0.2, 0.1, 0.6]])
    x, y = cell_axes(plain, (2, 5))
    fx, fy = cell_axes(flipped, (2, 5))
    assert torch.allclose(fx, x.flip(1)) and torch.equal(fy, y)


def test_geometric_match_finds_the_same_spot():
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 0.0, 0.0, 1.0]])  # the same crop, flipped
    maps = torch.zeros(1, 1, 3, 3)
    part = GeometricCorrespondence()
    match = part.match(ViewMap(maps, a), ViewMap(maps, b))
    assert match.index.tolist() == [[2, 1, 0, 5, 4, 3, 8, 7, 6]]
    assert match.valid.all()
    pairs = part.pairs(ViewMap(maps, a), ViewMap(maps, b))
    assert torch.equal(pairs[0].long().argmax(1), match.index[0])


def test_geometric_match_leaves_the_rest_out():
    a = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    b = torch.tensor([[0.25, 0.0, 0.75, 0.5]])
    maps = torch.zeros(1, 1, 2, 4)
    part = GeometricCorrespondence(radius=0.4)
    match = part.match(ViewMap(maps, a), ViewMap(maps, b))
    # columns 2 and 3 of a are columns 0 and 1 of b; the next column is
    # 0.45 bin diagonals away
    assert match.valid.tolist() == [[False, False, True, True] * 2]
    assert match.index[0, [2, 3, 6, 7]].tolist() == [0, 1, 4, 5]
    far = part.match(ViewMap(maps, a), ViewMap(maps, torch.tensor([[0.8, 0.8, 0.9, 0.9]])))
    assert not far.valid.any()


def test_similarity_match_is_the_argmax_of_the_cosine():
    torch.manual_seed(0)
    fa, fb = torch.randn(2, 5, 2, 3), torch.randn(2, 5, 3, 3)
    match = SimilarityCorrespondence().match(ViewMap(fa), ViewMap(fb))
    for n in range(2):
        for s in range(6):
            u = fa[n, :, s // 3, s % 3]
            cosines = [torch.cosine_similarity(u, fb[n, :, t // 3, t % 3], dim=0) for t in range(9)]
            assert int(match.index[n, s]) == max(range(9), key=cosines.__getitem__)
    assert match.valid.all()
    pairs = SimilarityCorrespondence().pairs(ViewMap(fa), ViewMap(fb))
    assert torch.equal(pairs.long().argmax(2), match.index)
    assert (pairs.sum(2) == 1).all()


def test_similarity_is_not_rounded_under_autocast():
    torch.manual_seed(0)
    base = torch.randn(1, 64, 1, 1)
    maps = [base + 0.02 * torch.randn(1, 64, 5, 5) for _ in range(2)]
    part = SimilarityCorrespondence()
    want = part.match(*map(ViewMap, maps)).index
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = part.match(*map(ViewMap, maps)).index
    assert torch.equal(got, want)
