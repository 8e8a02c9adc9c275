"""The propagation module against plain loops and released numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_ssl.models.networks import PixelPropagation
from dense_ssl.registry import MODELS
from tests.canonical import fill, normal
from tests.data_paths import shared_fixtures


def slow_propagation(x, value, gamma, clamp):
    """One image; x and value: lists [cell][channel]."""

    def length(v):
        return math.sqrt(sum(c * c for c in v))

    out = []
    for a in x:
        y = [0.0] * len(value[0])
        for b, v in zip(x, value):
            cos = sum(p * q for p, q in zip(a, b)) / (length(a) * length(b))
            weight = max(cos, clamp)
            weight = (weight + 1e-6 if gamma < 1 else weight) ** gamma
            y = [s + weight * c / length(v) for s, c in zip(y, v)]
        out.append(y)
    return out


def cells(x):
    return x.flatten(1).t().tolist()


@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    gamma=st.sampled_from([0.5, 1.0, 2.0, 3.5]),
    layers=st.integers(0, 2),
    clamp=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_plain_loops(size, gamma, layers, clamp, seed):
    torch.manual_seed(seed)
    ppm = PixelPropagation(3, gamma=gamma, transform_layers=layers, clamp=clamp).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    value = ppm.value(x)
    got = ppm(x)
    assert got.shape == x.shape
    for n in range(2):
        want = slow_propagation(cells(x[n]), cells(value[n]), gamma, clamp)
        assert torch.allclose(
            got[n].flatten(1).t(),
            torch.tensor(want, dtype=torch.float64),
            rtol=1e-6,  # roots of similarities near zero
            atol=1e-9,
        )


@pytest.mark.parametrize('gamma', [0.5, 1.0, 2.0])
@pytest.mark.parametrize('layers', [0, 1, 2])
def test_gradient(gamma, layers):
    torch.manual_seed(1)
    ppm = PixelPropagation(3, gamma=gamma, transform_layers=layers).double()
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ppm, x)


def test_released_numbers():
    with np.load(shared_fixtures() / 'pixpro.npz') as z:
        outs = [k for k in z.files if k.startswith('featprop/') and k.endswith('/out')]
        assert len(outs) == 10
        for key in outs:
            case = key[: -len('/out')]
            layer, gamma, clamp = (float(part.lstrip('layergmcp')) for part in case.split('/')[1:])
            ppm = PixelPropagation(
                16, gamma=gamma, transform_layers=int(layer), clamp=clamp
            ).double()
            names = {'value.0.': 'value.fc1.', 'value.1.': 'value.bn1.', 'value.3.': 'value.fc2.'}

            def rename(name, names=names):
                return names.get(name[:8], name[:8]) + name[8:]

            fill(ppm, 'pixpro.featprop.ppm.', rename)
            x = normal('pixpro.featprop.x', (2, 16, 7, 7)).requires_grad_()
            out = ppm(x)
            out.backward(normal('pixpro.featprop.upstream', x.shape))
            assert torch.allclose(out, torch.from_numpy(z[key]), rtol=1e-9)
            assert torch.allclose(x.grad, torch.from_numpy(z[f'{case}/grad_x']), atol=1e-9)
            parameters = dict(ppm.named_parameters())
            assert len(parameters) == (0, 2, 6)[int(layer)]
            for name, p in parameters.items():
                want = z[f'{case}/grad:pixpro.featprop.ppm.{rename(name)}']
                assert torch.allclose(p.grad, torch.from_numpy(want), atol=1e-9), name


@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize('gamma', [0.1, 0.5, 0.9])
def test_roots_near_zero_have_a_finite_gradient(gamma, half):
    # orthogonal, opposite and equal cells: similarities 0, -1 and 1
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0], [1.0, 1e-8]])
    x = x.t().reshape(1, 2, 1, 5).requires_grad_()
    ppm = PixelPropagation(2, gamma=gamma)
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        out = ppm(x)
    out.float().square().sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in ppm.parameters())


def test_cells_of_one_map_do_not_meet_those_of_another():
    torch.manual_seed(0)
    ppm = PixelPropagation(4)
    x = torch.randn(2, 4, 3, 3)
    changed = x.clone()
    changed[1] = torch.randn(4, 3, 3)
    assert torch.allclose(ppm(x)[0], ppm(changed)[0])


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(gamma=0.0), 'gamma=0'),
        (dict(transform_layers=3), 'transform_layers=3'),
        (dict(clamp=-1.0), 'clamp=-1'),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='PixelPropagation', in_channels=4, **options))
