"""Each algorithm trains in two DDP processes, with nothing left over."""

import numpy as np
import pytest
import torch

from dense_ssl.registry import MODELS

from ..distributed import run_distributed
from . import tiny

NORM = dict(type='BN')
PIXEL = dict(
    backbone=dict(type='TinyBackbone'),
    projector=dict(type='PixelProjector', in_channels=8, hidden_channels=8, out_channels=4),
)
MCL = dict(
    type='MCL',
    backbone=dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3), norm_cfg=NORM),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=8, norm_cfg=NORM),
    region_head=dict(
        type='RegionHead',
        in_channels=8,
        num_convs=1,
        hidden_channels=8,
        out_channels=4,
        norm_cfg=NORM,
    ),
    predictor=dict(
        type='NonLinearNeck',
        in_channels=4,
        hid_channels=8,
        out_channels=4,
        with_avg_pool=False,
        with_last_bn=False,
        norm_cfg=dict(type='BN1d'),
    ),
)
CASES = dict(
    densecl=(
        dict(
            type='DenseCL',
            backbone=dict(type='TinyBackbone'),
            projector=dict(type='DenseProjector', in_channels=8, hidden_channels=8, out_channels=4),
            queue_len=10,
        ),
        2,
        16,
    ),
    pixcontrast=(dict(type='PixContrast', **PIXEL), 2, 16),
    pixpro=(
        dict(
            type='PixPro',
            propagation=dict(type='PixelPropagation', in_channels=4),
            instance_projector=PIXEL['projector'],
            instance_predictor=dict(PIXEL['projector'], in_channels=4),
            **PIXEL,
        ),
        2,
        16,
    ),
    pixpro_some_levels=(
        dict(
            type='PixPro',
            backbone=MCL['backbone'],
            neck=MCL['neck'],
            levels=(1, -1),
            projector=dict(PIXEL['projector'], num_levels=2),
            propagation=dict(type='PixelPropagation', in_channels=4),
        ),
        2,
        64,
    ),
    mcl=(MCL, 8, 64),
    mcl_two_levels=(
        dict(
            MCL,
            ratios=(1, 4),
            shares=(1, 1 / 4),
            fpn_levels=(3, 1),
            head=dict(type='MultiLevelContrastHead', weights=(0.5, 0.5)),
        ),
        4,
        64,
    ),
)


def two_steps(rank, world, name):
    from mmengine.model import MMDistributedDataParallel
    from mmengine.optim import OptimWrapper

    cfg, views, size = CASES[name]
    torch.manual_seed(rank)  # DDP gives all the first process's weights
    model = MODELS.build({'_scope_': 'dense_ssl', **cfg})
    if model.momentum_encoder.end_momentum is not None:
        model.momentum_encoder.set_total_steps(10)
    model = MMDistributedDataParallel(model, broadcast_buffers=False)
    model.train()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    model.module.momentum_encoder.attach(wrapper.optimizer)
    boxes = torch.rand(4, 2, 4).sort(dim=2)[0][..., [0, 1, 3, 2]]
    losses = []
    for _ in range(2):  # the second iteration is where DDP complains
        batch = dict(
            inputs=[torch.randn(4, 3, size, size) for _ in range(views)],
            data_samples=tiny.samples(boxes.expand(4, 2, 4)),
        )
        losses.append(model.train_step(batch, wrapper)['loss'].item())
    module = model.module
    weights = torch.cat([p.flatten() for p in module.parameters()])
    return losses, weights.detach().numpy()


@pytest.mark.parametrize('name', CASES)
def test_two_training_steps_under_ddp(name):
    results = run_distributed(two_steps, args=(name,))
    for losses, _ in results:
        assert np.isfinite(losses).all()
    # other images, same weights: online and momentum
    assert results[0][0] != results[1][0]
    assert np.array_equal(results[0][1], results[1][1])
