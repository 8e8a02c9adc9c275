import copy
import pickle
from math import cos, pi

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from dense_ssl.errors import UserError
from dense_ssl.models import MomentumEncoder
from dense_ssl.models.momentum_encoder import cosine_momentum

from ..data_paths import shared_fixtures


def make(**options):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return net, MomentumEncoder(dict(net=net), **options)


def step(net, optimizer):
    net(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_follows_each_optimizer_step():
    net, twin = make(momentum=0.9)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    expected = [p.detach().clone() for p in net.parameters()]
    for _ in range(3):
        step(net, optimizer)
        expected = [0.9 * e + 0.1 * p.detach() for e, p in zip(expected, net.parameters())]
    for e, p in zip(expected, twin.net.parameters()):
        assert torch.allclose(e, p, atol=1e-6)
        assert not p.requires_grad
    assert twin.num_updates == 3 and int(twin.updates) == 3


def test_keeps_its_own_buffers():
    net, twin = make()
    step(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert int(net[1].num_batches_tracked) == 1
    assert int(twin.net[1].num_batches_tracked) == 0


def test_ignores_other_optimizers():
    net, twin = make()
    other = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    step(other, optimizer)
    assert twin.num_updates == 0


def test_counts_optimizer_steps_under_accumulation():
    net, twin = make()
    wrapper = OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(net, 0, 7)
    for _ in range(7):
        wrapper.update_params(net(torch.randn(5, 3)).sum())
    # steps after iterations 3, 6 and (the end of training) 7
    assert twin.num_updates == 3


def test_a_copy_of_the_model_follows_its_own_network():
    net, twin = make(momentum=0.5)
    model = nn.ModuleDict(dict(net=net, twin=twin))
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        optimizer = torch.optim.SGD(clone['net'].parameters(), lr=0.1)
        step(clone['net'], optimizer)
        assert clone['twin'].num_updates == 1
    assert twin.num_updates == 0


def test_step_counter_survives_a_checkpoint():
    net, twin = make(momentum=0.99, end_momentum=1.0)
    twin.set_total_steps(10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(4):
        step(net, optimizer)
    _, fresh = make(momentum=0.99, end_momentum=1.0)
    fresh.set_total_steps(10)
    assert fresh.current_momentum() != twin.current_momentum()
    fresh.load_state_dict(twin.state_dict())
    assert fresh.num_updates == 4
    assert fresh.current_momentum() == twin.current_momentum()


def test_schedule():
    for k in (0, 1, 50, 100, 200):
        expected = 1 - 0.01 * (cos(pi * min(k, 100) / 100) + 1) / 2
        assert cosine_momentum(0.99, 1.0, k, 100) == pytest.approx(expected, abs=1e-15)
    _, first = make(momentum=0.99, end_momentum=1.0, first_step=0)
    first.set_total_steps(10)
    assert first.current_momentum() == 0.99


@pytest.mark.parametrize('name', ['pixpro', 'mcl'])
def test_schedule_of_the_released_code(name):
    with np.load(shared_fixtures() / f'{name}.npz') as z:
        base, total = float(z['ema/base']), int(z['ema/K'])
        for k, m in zip(z['ema/k'], z['ema/momentum']):
            assert cosine_momentum(base, 1.0, int(k), total) == pytest.approx(float(m), abs=1e-12)


@pytest.mark.parametrize('key', ['momentum', 'end_momentum'])
@pytest.mark.parametrize('value', [0.001, 0.0, 1.5])
def test_refuses_the_other_convention(key, value):
    with pytest.raises(ValueError, match=f'{key}={value}.*old value'):
        make(**{key: value})


def test_schedule_needs_its_length():
    net, twin = make(momentum=0.99, end_momentum=1.0)
    with pytest.raises(UserError, match='MomentumScheduleHook'):
        twin.update()
