"""LARS against the released implementations and plain loops."""

import copy
import math

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.engine.optimizers import LARS as MMPretrainLARS
from torch import nn

from dense_ssl.engine import LARS
from tests.canonical import normal
from tests.data_paths import shared_fixtures

SHAPES = dict(
    conv=(8, 4, 3, 3),
    zero_w=(4, 4, 1, 1),
    zero_g=(4, 4, 1, 1),
    fc=(5, 7),
    bias=(8,),
    zero_bias=(4,),
)


def fixture_parameters():
    return {
        name: nn.Parameter(
            torch.zeros(shape, dtype=torch.float64)
            if name in ('zero_w', 'zero_bias')
            else normal(f'lars.w.{name}', shape)
        )
        for name, shape in SHAPES.items()
    }


def fixture_gradients(params, step):
    for name, p in params.items():
        p.grad = (
            torch.zeros_like(p) if name == 'zero_g' else normal(f'lars.g{step}.{name}', p.shape)
        )


# all tensors of a kind together, or one by one; by default as on this device
foreach = pytest.mark.parametrize('foreach', [True, False])


@foreach
@pytest.mark.parametrize('variant', ['pixpro', 'mcl'])
def test_numbers_of_the_released_code(variant, foreach):
    with np.load(shared_fixtures() / f'{variant}.npz') as z:
        lr, momentum, decay, eta = z['lars/hyper'][:4]
        params = fixture_parameters()
        optimizer = LARS(
            params.values(),
            lr=float(lr),
            momentum=float(momentum),
            weight_decay=float(decay),
            eta=float(eta),
            variant=variant,
            foreach=foreach,
        )
        for step in range(3):
            fixture_gradients(params, step)
            optimizer.step()
            for name, p in params.items():
                want = torch.from_numpy(z[f'lars/step{step + 1}/{name}'])
                assert torch.allclose(p, want, rtol=1e-12, atol=1e-15), name


def slow_step(w, g, b, lr, m, wd, eta, eps, variant, adapted=True):
    """One tensor as lists of Python floats."""

    def length(v):
        return math.sqrt(sum(x * x for x in v))

    d = [x + wd * y for x, y in zip(g, w)]
    if variant == 'pixpro':
        norm, below = length(d), length(d) + eps
    else:
        norm, below = length(g), length(g) + wd * length(w) + eps
    ratio = 1.0
    if adapted and norm > 0 and length(w) > 0:
        ratio = eta * length(w) / below
    scale = ratio * (1 if variant == 'pixpro' else lr)
    b = [m * x + scale * y for x, y in zip(b, d)]
    last = lr if variant == 'pixpro' else 1
    return [x - last * y for x, y in zip(w, b)], b


@foreach
@pytest.mark.parametrize('variant', ['pixpro', 'mmpretrain'])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_plain_loops_with_a_changing_rate(variant, momentum, foreach):
    torch.manual_seed(0)
    params = [torch.randn(s, dtype=torch.float64) for s in ((3, 2), (4,))]
    params = [nn.Parameter(p) for p in params]
    params.append(nn.Parameter(torch.zeros(2, 2, dtype=torch.float64)))
    optimizer = LARS(
        params, lr=1.0, momentum=momentum, weight_decay=0.1, variant=variant, foreach=foreach
    )
    slow = [(p.flatten().tolist(), [0.0] * p.numel()) for p in params]
    for step, lr in enumerate((1.0, 0.5, 2.0)):
        optimizer.param_groups[0]['lr'] = lr
        for i, p in enumerate(params):
            p.grad = torch.randn_like(p) * (step + 1)
            flat = p.dim() == 1
            slow[i] = slow_step(
                slow[i][0],
                p.grad.flatten().tolist(),
                slow[i][1],
                lr,
                momentum,
                0.0 if flat else 0.1,
                0.001,
                1e-8,
                variant,
                not flat,
            )
        optimizer.step()
        for p, (w, _) in zip(params, slow):
            assert torch.allclose(p.flatten(), torch.tensor(w, dtype=p.dtype), rtol=1e-12)


@foreach
def test_equals_mmpretrain(foreach):
    ours, theirs = fixture_parameters(), fixture_parameters()
    options = dict(lr=0.5, momentum=0.9, weight_decay=1e-2)
    ours_optimizer = LARS(
        ours.values(), variant='mmpretrain', exclude_1d=False, foreach=foreach, **options
    )
    theirs_optimizer = MMPretrainLARS(theirs.values(), **options)
    for step in range(3):
        for params, optimizer in ((ours, ours_optimizer), (theirs, theirs_optimizer)):
            fixture_gradients(params, step)
            for group in optimizer.param_groups:
                group['lr'] = 0.5 / (step + 1)
            optimizer.step()
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], rtol=1e-12), name


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4, 2))


def train(net, optimizer, steps):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(5, 3, 4, 4)).square().sum().backward()
        optimizer.step()


def build(net, momentum=0.9, **paramwise_cfg):
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        return build_optim_wrapper(
            net,
            dict(
                type='OptimWrapper',
                optimizer=dict(type='LARS', lr=0.1, momentum=momentum, weight_decay=0.01),
                paramwise_cfg=paramwise_cfg,
            ),
        )


def test_groups_do_not_matter():
    """A group for each parameter, as paramwise_cfg makes them."""
    nets = [small_net() for _ in range(2)]
    wrapper = build(nets[0], flat_decay_mult=0.0)
    assert isinstance(wrapper.optimizer, LARS)
    groups = wrapper.optimizer.param_groups
    assert len(groups) == 6
    for group in groups:
        (p,) = group['params']
        assert group['weight_decay'] == (0.0 if p.dim() == 1 else 0.01)
    plain = LARS(nets[1].parameters(), lr=0.1, weight_decay=0.01)
    train(nets[0], wrapper.optimizer, 3)
    train(nets[1], plain, 3)
    for a, b in zip(nets[0].parameters(), nets[1].parameters()):
        assert torch.equal(a, b)


def test_lars_exclude_of_paramwise_cfg():
    net = small_net()
    wrapper = build(net, momentum=0.0, custom_keys={'3': dict(lars_exclude=True, decay_mult=0.0)})
    before = [p.detach().clone() for p in net.parameters()]
    train(net, wrapper.optimizer, 1)
    steps = [a - b.detach() for a, b in zip(before, net.parameters())]
    plain = [0.1 * p.grad for p in net.parameters()]
    # biases, norms and the excluded linear layer
    for i in (1, 2, 3, 4, 5):
        assert torch.allclose(steps[i], plain[i])
    assert steps[0].norm() == pytest.approx(0.1 * 0.001 * before[0].norm().item(), rel=1e-3)


def test_resumes_exactly():
    nets = [small_net() for _ in range(2)]
    straight = LARS(nets[0].parameters(), lr=0.1, weight_decay=0.01)
    train(nets[0], straight, 2)
    nets[1].load_state_dict(nets[0].state_dict())
    resumed = LARS(nets[1].parameters(), lr=0.3)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for net, optimizer in zip(nets, (straight, resumed)):
        train(net, optimizer, 2)
    for a, b in zip(nets[0].parameters(), nets[1].parameters()):
        assert torch.equal(a, b)


def test_leaves_gradients_and_unused_parameters_alone():
    net = small_net()
    optimizer = LARS(net.parameters(), lr=0.1, weight_decay=0.1)
    net[0](torch.randn(1, 3, 4, 4)).sum().backward()
    gradient = net[0].weight.grad.clone()
    weight = net[3].weight.detach().clone()
    optimizer.step()
    assert torch.equal(net[0].weight.grad, gradient)
    assert torch.equal(net[3].weight, weight)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(variant='lamb'), 'pixpro, mmpretrain, mcl'),
        (dict(lr=-1.0), 'lr=-1.0'),
        (dict(weight_decay=-1.0), 'weight_decay=-1.0'),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        LARS([nn.Parameter(torch.ones(1))], **{'lr': 0.1, **options})
