"""Features whose numbers are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dense_ssl.models.diagnostics import (
    effective_rank,
    pair_ranking,
    queue_ranking,
    spread,
    target_ranking,
)

M, D = 256, 32


def rank(x):
    return effective_rank(spread(x).gram)


def isotropic(seed=0, rows=M, dim=D):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def orthonormal(k):
    """Rows along ``k`` axes, each as often as any other."""
    return torch.eye(D)[torch.arange(M) % k] * (1 + torch.arange(M)[:, None])


@pytest.mark.parametrize('k', [1, 2, 8, 32])
def test_rank_k(k):
    assert rank(orthonormal(k)) == pytest.approx(k, rel=1e-3)


def test_isotropic():
    found = spread(isotropic())
    assert found.std == pytest.approx(1, abs=0.02)
    assert 0.95 * D < effective_rank(found.gram) <= D


def test_collapsed():
    x = torch.full((M, D), 0.3) + 1e-4 * isotropic()
    assert spread(x).std < 1e-3
    assert rank(x) == pytest.approx(1, abs=0.02)


def test_half_dead():
    x = isotropic()
    x[:, D // 2 :] = 0
    assert 0.95 * D / 2 < rank(x) <= D / 2


def test_rank_against_numpy():
    x = F.normalize(isotropic(rows=50) + 0.5, dim=1)
    s = np.linalg.svd(x.double().numpy(), compute_uv=False)
    p = s / s.sum()
    assert rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_rank_of_what_is_not_finite():
    x = isotropic()
    x[3, 4] = float('nan')
    assert np.isnan(rank(x))


def test_maps_between_and_within_images():
    one_an_image = isotropic(rows=8)[:, :, None, None].expand(-1, -1, 4, 4)
    assert spread(one_an_image).between == pytest.approx(1, abs=1e-5)
    same_images = isotropic(rows=16).t().reshape(1, D, 4, 4).expand(8, -1, -1, -1)
    assert spread(same_images).between == pytest.approx(0, abs=1e-5)


def test_half_precision_and_odd_sizes():
    x = isotropic(rows=17 * 35).reshape(17, 35, D).transpose(1, 2).reshape(17, D, 5, 7)
    full, half = spread(x), spread(x.half())
    assert half.std.dtype == torch.float32
    assert half.std == pytest.approx(float(full.std), rel=1e-2)


def unit(x):
    return F.normalize(x, dim=-1)


@pytest.mark.parametrize('masked', [False, True])
def test_queue_ranking(masked):
    q, k, queue = (unit(isotropic(s, rows)) for s, rows in ((0, 30), (1, 30), (2, 9000)))
    k[:10] = q[:10]
    valid = torch.arange(30) % 3 > 0 if masked else torch.ones(30, dtype=torch.bool)
    found = queue_ranking(q, k, queue, valid if masked else None)
    cosines = [[float(a @ b) for b in queue] for a in q[valid]]
    own = [float(a @ b) for a, b in zip(q[valid], k[valid])]
    assert found['positive'] == pytest.approx(np.mean(own), abs=1e-5)
    assert found['negative'] == pytest.approx(np.mean(cosines), abs=1e-5)
    hits = [mine > max(others) for mine, others in zip(own, cosines)]
    assert found['top1'] == pytest.approx(np.mean(hits))


def test_pair_ranking():
    a, b = (unit(isotropic(s, 5 * 6).reshape(5, 6, D)) for s in (0, 1))
    positive = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.2
    b[:, 0] = a[:, 3]
    positive[0] = False
    pairs, others, hits = [], [], []
    for n in range(5):
        for i in range(6):
            cosine = [float(a[n, i] @ b[n, j]) for j in range(6)]
            pairs += [c for c, p in zip(cosine, positive[n, i]) if p]
            others += [c for c, p in zip(cosine, positive[n, i]) if not p]
            if positive[n, i].any():
                hits.append(bool(positive[n, i, int(np.argmax(cosine))]))
    found = pair_ranking(a, b, positive)
    assert found['positive'] == pytest.approx(np.mean(pairs), abs=1e-5)
    assert found['negative'] == pytest.approx(np.mean(others), abs=1e-5)
    assert found['top1'] == pytest.approx(np.mean(hits))


def test_no_pairs_are_no_division_by_zero():
    a = unit(isotropic(rows=6).reshape(1, 6, D))
    found = pair_ranking(a, a, torch.zeros(1, 6, 6, dtype=torch.bool))
    assert found['top1'] == 0 and found['positive'] == 0


def test_target_ranking():
    z, t = isotropic(0, 12), isotropic(1, 4)
    labels = torch.arange(12) % 4
    t[0] = 3 * z[4]
    own, others, hits = [], [], []
    for row, label in zip(unit(z), labels):
        cosine = [float(row @ x) for x in unit(t)]
        own.append(cosine[label])
        others += [c for j, c in enumerate(cosine) if j != label]
        hits.append(np.argmax(cosine) == int(label))
    found = target_ranking([z[:5], z[5:]], [labels[:5], labels[5:]], t)
    assert found['positive'] == pytest.approx(np.mean(own), abs=1e-5)
    assert found['negative'] == pytest.approx(np.mean(others), abs=1e-5)
    assert found['top1'] == pytest.approx(np.mean(hits))
