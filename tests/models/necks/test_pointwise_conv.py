"""The matrix product against PyTorch's convolution."""
import pytest
import torch
from torch import nn

from dense_ssl.models.necks.pointwise_conv import PointwiseConv2d


def twins(cin=5, cout=3):
    torch.manual_seed(0)
    ours = PointwiseConv2d(cin, cout).double()
    theirs = nn.Conv2d(cin, cout, 1).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (4, 4)])
@pytest.mark.parametrize('layout',
                         [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients(size, layout):
    maps = torch.randn(2, 5, *size, dtype=torch.float64)
    pull = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for module in twins():
        module.to(memory_format=layout)
        x = maps.clone(memory_format=layout).requires_grad_()
        out = module(x)
        (out * pull).sum().backward()
        results.append(
            [out, x.grad, module.weight.grad, module.bias.grad])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_is_a_convolution_to_others():
    """Initialisers, sync-BN converters and exporters look for the class."""
    ours, theirs = twins()
    assert isinstance(ours, nn.Conv2d)
    assert ours.kernel_size == (1, 1)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.weight.shape == theirs.weight.shape


def test_follows_autocast():
    ours, theirs = (m.float() for m in twins())
    x = torch.randn(2, 5, 2, 2)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        a, b = ours(x), theirs(x)
    assert a.dtype == b.dtype == torch.bfloat16
    torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
