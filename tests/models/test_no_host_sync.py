"""No step makes the host wait for the device."""

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from dense_ssl.datasets import RandomColor
from dense_ssl.engine.optimizers import LARS
from dense_ssl.models.diagnostics import spread
from dense_ssl.registry import MODELS

from . import tiny
from .tiny_mcl import mcl_config

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')


def pixpro():
    return MODELS.build(
        dict(
            type='dense_ssl.PixPro',
            backbone=dict(type='TinyBackbone'),
            projector=dict(type='PixelProjector', in_channels=8, hidden_channels=8, out_channels=4),
            propagation=dict(type='PixelPropagation', in_channels=4),
        )
    )


def pixcontrast():
    return MODELS.build(
        dict(
            type='dense_ssl.PixContrast',
            backbone=dict(type='TinyBackbone'),
            projector=dict(type='PixelProjector', in_channels=8, hidden_channels=8, out_channels=4),
        )
    )


def mcl(mode):
    cfg = mcl_config(mode=mode)
    del cfg['data_preprocessor']
    return MODELS.build(cfg)


METHODS = {
    'densecl': (tiny.densecl, 2),
    'densecl geometric': (
        lambda: tiny.densecl(correspondence=dict(type='GeometricCorrespondence')),
        2,
    ),
    'pixpro': (pixpro, 2),
    'pixcontrast': (pixcontrast, 2),
    'mcl selected': (lambda: mcl('selected'), 8),
    'mcl exact': (lambda: mcl('exact'), 8),
}


def batch(views, count=4, size=64):
    """uint8 views in pinned memory, with boxes and colors."""
    color = RandomColor(0.4, 0.4, 0.4, 0.1, blur_prob=0.5, solarize_prob=0.3)
    samples = []
    for _ in range(count):
        sample = DataSample()
        corner = np.random.rand(views, 2).astype(np.float32) / 2
        sample.set_field(np.concatenate([corner, corner + 0.5], 1), 'view_boxes')
        sample.set_field(np.stack([color.draw().row() for _ in range(views)]), 'view_colors')
        samples.append(sample)
    inputs = [
        torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8) for _ in range(views)
    ]
    if torch.cuda.is_available():
        inputs = [x.pin_memory() for x in inputs]
    return dict(inputs=inputs, data_samples=samples)


def step(model, optimizer, data):
    data = model.data_preprocessor(data, True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def prepare(name):
    build, views = METHODS[name]
    torch.manual_seed(0)
    np.random.seed(0)
    model = build().train()
    if model.momentum_encoder.end_momentum is not None:
        model.momentum_encoder.set_total_steps(10)
    return model, views


@gpu
@pytest.mark.parametrize('observed', [None, {}])
@pytest.mark.parametrize('name', METHODS)
def test_step(name, observed):
    model, views = prepare(name)
    model.cuda()
    optimizer = LARS(model.parameters(), lr=0.1, weight_decay=1e-5)
    model.momentum_encoder.attach(optimizer)
    step(model, optimizer, batch(views))  # buffers and kernels are made here
    model.observed = observed
    data = batch(views)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        loss = step(model, optimizer, data)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert loss.isfinite()


class NoReading(torch.utils._python_dispatch.TorchDispatchMode):
    """Refuses what would wait for a device, also where there is none."""

    REFUSED = {
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
        torch.ops.aten.equal.default,
        torch.ops.aten.is_nonzero.default,
        torch.ops.aten._unique2.default,
    }

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in self.REFUSED, f'{func} waits for the device'
        if func is torch.ops.aten.index.Tensor:
            masks = [i for i in args[1] if i is not None]
            assert all(i.dtype is not torch.bool for i in masks), (
                'indexing by a mask waits for the device'
            )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('observed', [None, {}])
@pytest.mark.parametrize('name', METHODS)
def test_step_reads_nothing_back(name, observed):
    model, views = prepare(name)
    model.observed = observed
    # in groups, as on an accelerator
    optimizer = LARS(model.parameters(), lr=0.1, weight_decay=1e-5, foreach=True)
    model.momentum_encoder.attach(optimizer)
    data = batch(views)
    with NoReading():
        loss = step(model, optimizer, data)
        for what in (observed or {}).values():
            if torch.is_tensor(what):
                spread(what)
    assert loss.isfinite()
    assert observed is None or {'feature'} < observed.keys()


def test_the_guard_guards():
    x = torch.ones(3)
    for read in (lambda: x[0].item(), lambda: x[x > 0], lambda: bool(x[0]), lambda: x.nonzero()):
        with NoReading(), pytest.raises(AssertionError, match='waits'):
            read()
