import copy
import pickle
from math import cos, pi

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from dense_ssl.errors import UserError
from dense_ssl.models import MomentumEncoder, MomentumSelfSupervisor
from dense_ssl.models.momentum_encoder import cosine_momentum
from dense_ssl.registry import HOOKS, MODELS

from ..data_paths import shared_fixtures
from .tiny import TinyBackbone, densecl, samples
from .tiny_mcl import mcl


def make(**options):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return net, MomentumEncoder(dict(net=net), **options)


def followed(net, twin):
    """The optimiser of ``net``, which ``twin`` follows."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    twin.attach(optimizer)
    return optimizer


def step(net, optimizer):
    net(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_follows_each_optimizer_step():
    net, twin = make(momentum=0.9)
    optimizer = followed(net, twin)
    twin.attach(optimizer)  # once more changes nothing
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
    step(net, followed(net, twin))
    assert int(net[1].num_batches_tracked) == 1
    assert int(twin.net[1].num_batches_tracked) == 0


def test_ignores_other_optimizers():
    net, twin = make()
    other = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    own = followed(net, twin)
    step(other, optimizer)
    assert twin.num_updates == 0
    step(net, own)
    assert twin.num_updates == 1


def test_counts_optimizer_steps_under_accumulation():
    net, twin = make()
    wrapper = OptimWrapper(followed(net, twin), accumulative_counts=3)
    wrapper.initialize_count_status(net, 0, 7)
    for _ in range(7):
        wrapper.update_params(net(torch.randn(5, 3)).sum())
    # steps after iterations 3, 6 and (the end of training) 7
    assert twin.num_updates == 3


def test_counts_no_step_that_loss_scaling_skips():
    net, twin = make()
    optimizer = followed(net, twin)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0)
    for factor in (1.0, float('inf'), 1.0):
        scaler.scale(factor * net(torch.randn(5, 3)).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert twin.num_updates == 2


def test_a_copy_of_the_model_is_not_attached_and_follows_its_own_network():
    net, twin = make(momentum=0.5)
    model = nn.ModuleDict(dict(net=net, twin=twin))
    optimizer = followed(net, twin)
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        own = torch.optim.SGD(clone['net'].parameters(), lr=0.1)
        step(clone['net'], own)
        assert clone['twin'].num_updates == 0
        clone['twin'].attach(own)
        step(clone['net'], own)
        assert clone['twin'].num_updates == 1
        assert clone['twin']._online['net'] is clone['net']
    assert twin.num_updates == 0
    step(net, optimizer)
    assert twin.num_updates == 1


def test_training_that_nothing_follows_is_an_error():
    net, twin = make()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        twin.check_followed()
        twin.check_followed()  # an iteration of an accumulation
        step(net, optimizer)
    with pytest.raises(UserError, match=r'attach\(optimizer\).*MomentumUpdateHook'):
        twin.check_followed()


def test_what_moves_the_weights_without_a_step_is_no_error():
    net, twin = make()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    model = nn.ModuleDict(dict(net=net, twin=twin))
    for _ in range(3):  # weights that are loaded
        twin.check_followed()
        model.load_state_dict(model.state_dict())
    for _ in range(3):  # a loop that updates by hand, and loads the network amid
        twin.check_followed()
        step(net, optimizer)
        twin.update()
        twin.check_followed()
        net.load_state_dict(net.state_dict())
    twin.eval()
    for _ in range(3):
        twin.check_followed()
        step(net, optimizer)


METHODS = dict(
    densecl=lambda: (densecl(queue_len=8), 2),
    pixpro=lambda: (
        MODELS.build(
            dict(
                type='dense_ssl.PixPro',
                backbone=dict(type='TinyBackbone'),
                projector=dict(
                    type='PixelProjector', in_channels=8, hidden_channels=16, out_channels=6
                ),
                propagation=dict(type='PixelPropagation', in_channels=6),
            )
        ),
        2,
    ),
    mcl=lambda: (mcl().float(), 8),
)


@pytest.mark.parametrize('name', METHODS)
def test_every_method_minds_that_it_is_followed(name):
    model, count = METHODS[name]()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    boxes = samples(torch.tensor([[[0.0, 0.0, 1.0, 1.0]] * 2] * 4))

    def train(steps):
        for _ in range(steps):
            views = [torch.randn(4, 3, 64, 64) for _ in range(count)]
            losses = model.loss(views, boxes)
            sum(v for k, v in losses.items() if 'loss' in k).backward()
            optimizer.step()

    model.momentum_encoder.set_total_steps(10)
    with pytest.raises(UserError, match='does not follow'):
        train(3)
    model.momentum_encoder.attach(optimizer)
    train(3)
    assert model.momentum_encoder.num_updates == 3


def test_step_counter_survives_a_checkpoint():
    net, twin = make(momentum=0.99, end_momentum=1.0)
    twin.set_total_steps(10)
    optimizer = followed(net, twin)
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
    with pytest.raises(UserError, match='MomentumUpdateHook'):
        twin.update()


def test_the_hook_has_its_old_name_too():
    from dense_ssl.engine.hooks import MomentumUpdateHook

    assert HOOKS.get('MomentumScheduleHook') is HOOKS.get('MomentumUpdateHook')
    with pytest.warns(DeprecationWarning, match='MomentumUpdateHook'):
        from dense_ssl.engine.hooks import MomentumScheduleHook
    assert MomentumScheduleHook is MomentumUpdateHook


def test_extra_networks_have_their_old_name_too():
    class Own(MomentumSelfSupervisor):
        def loss(self, inputs, data_samples):
            return {}

    part = dict(type='TinyBackbone')
    with pytest.warns(DeprecationWarning, match='extra_networks'):
        model = Own(part, more_networks=dict(tower=part))
    assert isinstance(model.momentum_encoder.tower, TinyBackbone)
