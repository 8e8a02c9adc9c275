"""MCL's loss against loops and released numbers."""

from math import exp, log

import numpy as np
import pytest
import torch
from mmpretrain.models import NonLinearNeck

from dense_ssl.models import MultiLevelContrastHead
from tests.canonical import fill, normal, rng, unit
from tests.data_paths import shared_fixtures


def reference(z, labels, targets, temperature, weight):
    """Mean over cells, written out."""
    total = 0.0
    for row, label in zip(z.tolist(), labels.tolist()):
        cosines = []
        for t in targets.tolist():
            dot = sum(a * b for a, b in zip(row, t))
            norm = (sum(a * a for a in row) * sum(b * b for b in t)) ** 0.5
            cosines.append(dot / norm)
        own = cosines[label] / temperature
        total += log(sum(exp(c / temperature) for c in cosines)) - own
    return 2 * temperature * weight * total / len(z)


def batch(seed=0):
    torch.manual_seed(seed)
    z = [torch.randn(n, 4, dtype=torch.float64) for n in (3, 8)]
    labels = [torch.randint(3, (len(x),)) for x in z]
    return z, labels, torch.randn(3, 4, dtype=torch.float64)


@pytest.mark.parametrize('temperature', [1.0, 0.2])
def test_reference(temperature):
    z, labels, targets = batch()
    head = MultiLevelContrastHead((0.5, 0.125), temperature)
    for level, weight in enumerate(head.weights):
        got = head.loss(z, labels, targets)[level].loss
        want = reference(z[level], labels[level], targets, temperature, weight)
        assert got.item() == pytest.approx(want, rel=1e-12)


def test_gradients():
    z, labels, targets = batch()
    z = [x.requires_grad_() for x in z]
    targets.requires_grad_()
    head = MultiLevelContrastHead((0.5, 0.125), 0.3)

    def total(*z):
        return sum(x.loss for x in head.loss(z, labels, targets))

    assert torch.autograd.gradcheck(total, tuple(z))
    total(*z).backward()
    assert targets.grad is None


@pytest.mark.parametrize('temperature', [1.0, 0.2])
@pytest.mark.parametrize('level', range(4))
def test_released_numbers(temperature, level):
    data = np.load(shared_fixtures() / 'mcl.npz')
    new = {'fc0': 'fc1', 'bn0': 'bn1', 'fc1': 'fc2'}
    predictor = fill(
        NonLinearNeck(
            8,
            16,
            8,
            with_bias=True,
            with_last_bias=True,
            with_last_bn=False,
            with_avg_pool=False,
            norm_cfg=dict(type='BN1d'),
        ).double(),
        f'mcl.fn.predictors.{level}.',
        lambda n: n.replace(n[:3], new[n[:3]]),
    )
    x = normal(f'mcl.fn.head.x{level}', (6, 8)).requires_grad_()
    targets = unit(normal('mcl.fn.head.target', (12, 8)), 1)
    labels = torch.from_numpy(rng('mcl.fn.head.labels').integers(0, 12, 6))
    assert np.array_equal(labels, data['head/labels'])

    weights = (0.5, 0.25, 0.125, 0.125)[level : level + 1]
    head = MultiLevelContrastHead(weights, temperature)
    (result,) = head.loss(predictor((x,)), [labels], targets)
    result.loss.backward()
    for name, got in dict(
        loss=result.loss, grad_x=x.grad, pos_cos=result.pos_cos, neg_cos=result.neg_cos
    ).items():
        np.testing.assert_allclose(
            got.detach(),
            data[f'head/T{temperature}/level{level}/{name}'],
            rtol=1e-9,
            atol=1e-12,
            err_msg=name,
        )


def test_half_precision_is_not_used():
    z, labels, targets = (batch()[0], *batch()[1:])
    head = MultiLevelContrastHead((0.5, 0.125))
    full = head.loss([x.float() for x in z], labels, targets.float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = head.loss([x.float() for x in z], labels, targets.float())
    assert got[0].loss.dtype == torch.float32
    assert torch.equal(got[1].loss, full[1].loss)


def test_temperature_is_positive():
    with pytest.raises(ValueError, match='temperature=0'):
        MultiLevelContrastHead(temperature=0)
