"""A tiny MCL model and batches for it."""

import torch
from torch import nn

from dense_ssl.registry import MODELS

BN = dict(type='BN')


@MODELS.register_module(force=True)
class TinyPyramid(nn.Module):
    """Maps at strides 4, 8, 16, 32, from C to 4 C channels."""

    channels = (4, 6, 8, 10)

    def __init__(self) -> None:
        super().__init__()
        stages, last = [], 3
        for i, c in enumerate(self.channels):
            stride = 2 if i else 4
            stages.append(
                nn.Sequential(nn.Conv2d(last, c, 3, stride, 1), nn.BatchNorm2d(c), nn.ReLU())
            )
            last = c
        self.stages = nn.ModuleList(stages)

    def forward(self, x):
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return tuple(out)


def mcl_config(**options) -> dict:
    """Config of a tiny MCL model, everything overridable."""
    cfg = dict(
        type='dense_ssl.MCL',
        backbone=dict(type='TinyPyramid'),
        neck=dict(type='FPN', in_channels=list(TinyPyramid.channels), out_channels=5, norm_cfg=BN),
        region_head=dict(
            type='RegionHead',
            in_channels=5,
            conv_channels=6,
            num_convs=2,
            hidden_channels=9,
            out_channels=4,
        ),
        predictor=dict(
            type='NonLinearNeck',
            in_channels=4,
            hid_channels=7,
            out_channels=4,
            with_bias=True,
            with_last_bias=True,
            with_last_bn=False,
            with_avg_pool=False,
            norm_cfg=dict(type='BN1d'),
        ),
        data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
    )
    cfg.update(options)
    return cfg


def randomise(model: nn.Module) -> nn.Module:
    """Weights and statistics that hide nothing, float64."""
    model = model.double()
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._NormBase):
            m.running_mean.normal_(std=0.1)
            m.running_var.uniform_(0.5, 2)
            if m.affine:
                nn.init.uniform_(m.weight, 0.5, 1.5)
                nn.init.normal_(m.bias, std=0.3)
    return model


def mcl(seed: int = 0, **options) -> nn.Module:
    """A tiny model in float64 whose momentum copy differs from online."""
    torch.manual_seed(seed)
    model = randomise(MODELS.build(mcl_config(**options)))
    with torch.no_grad():
        for p in model.momentum_encoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def views(batch: int = 3, size: int = 64, number: int = 8) -> list:
    """Views (batch, 3, size, size), float64."""
    generator = torch.Generator().manual_seed(7)
    return [
        torch.randn(batch, 3, size, size, dtype=torch.float64, generator=generator)
        for _ in range(number)
    ]
