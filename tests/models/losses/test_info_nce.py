import math

import pytest
import torch
import torch.nn.functional as F

from dense_ssl.models.losses import info_nce, queue_info_nce


def plain(query, positive, queue, temperature):
    """The textbook: one row of logits, one softmax, Python sums."""
    losses = []
    for q, k in zip(query, positive):
        pos = (q * k).sum() / temperature
        negatives = [(q * n).sum() / temperature for n in queue]
        denominator = pos.exp() + sum(x.exp() for x in negatives)
        losses.append(-(pos.exp() / denominator).log())
    return torch.stack(losses)


def batch(rows=7, dim=5, length=11, dtype=torch.float64):
    torch.manual_seed(0)
    q, k, n = (F.normalize(torch.randn(r, dim, dtype=dtype), dim=1) for r in (rows, rows, length))
    return q.requires_grad_(), k.requires_grad_(), n


@pytest.mark.parametrize('temperature', [0.01, 0.07, 0.2, 1.0])
@pytest.mark.parametrize('chunk', [1, 30, 1 << 23])
def test_value_and_gradients(monkeypatch, temperature, chunk):
    monkeypatch.setattr(info_nce, '_chunk_elements', lambda device: chunk)
    q, k, n = batch()
    weight = torch.linspace(-1, 2, 7, dtype=torch.float64)
    want = plain(q, k, n, temperature)
    expected = torch.autograd.grad((want * weight).sum(), (q, k))
    got = queue_info_nce(q, k, n, temperature)
    actual = torch.autograd.grad((got * weight).sum(), (q, k))
    assert torch.allclose(got, want, atol=1e-12)
    for a, e in zip(actual, expected):
        assert torch.allclose(a, e, atol=1e-12)


@pytest.mark.parametrize('temperature', [0.026, 0.024])
def test_single_precision_at_the_edge_of_both_ways(temperature):
    q, k, n = batch(64, 16, 1000, torch.float32)
    n[0], n[1] = q[0].detach(), -q[1].detach()  # the largest and the least
    exact = plain(*(x.double() for x in (q[:4], k[:4], n)), temperature)
    loss = queue_info_nce(q, k, n, temperature)
    assert torch.allclose(loss[:4].double(), exact, rtol=1e-5)
    loss.sum().backward()
    assert q.grad.isfinite().all()


def test_gradcheck():
    q, k, n = batch(4, 3, 6)
    assert torch.autograd.gradcheck(lambda q, k: queue_info_nce(q, k, n, 0.2), (q, k))


def test_queue_may_change_before_backward():
    q, k, n = batch()
    (expected,) = torch.autograd.grad(queue_info_nce(q, k, n, 0.2).sum(), q)
    loss = queue_info_nce(q, k, n, 0.2).sum()
    n.zero_()
    (actual,) = torch.autograd.grad(loss, q)
    assert torch.equal(actual, expected)


def test_survives_small_temperatures_in_single_precision():
    q, k, n = batch(dtype=torch.float32)
    loss = queue_info_nce(q, k, n, 0.001)
    loss.sum().backward()
    assert loss.isfinite().all() and q.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_summed_in_single(dtype):
    # 65 536 equal negatives: a sum of 65 536 ones is not a float16
    q = F.normalize(torch.ones(1, 4), dim=1).to(dtype).requires_grad_()
    queue = q.detach().float().expand(1 << 16, 4).contiguous()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = queue_info_nce(q, q.detach(), queue, 0.2)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(65537), rel=1e-4)
    loss.backward()
    assert q.grad.isfinite().all()


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match='temperature=0'):
        queue_info_nce(*batch(), 0)
