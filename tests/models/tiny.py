"""Small networks and batches for tests."""

import torch
from mmpretrain.structures import DataSample
from torch import nn

from dense_ssl.registry import MODELS


@MODELS.register_module(force=True)
class TinyBackbone(nn.Module):
    """Two strided convolutions: (N, 3, H, W) -> ((N, C, H/4, W/4), )."""

    def __init__(self, channels: int = 8, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, 2, 1)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, x):
        return (self.conv2(self.norm(self.conv1(x)).relu()),)


def densecl(**options):
    """A tiny DenseCL model, everything overridable."""
    cfg = dict(
        type='dense_ssl.DenseCL',
        backbone=dict(type='TinyBackbone'),
        projector=dict(type='DenseProjector', in_channels=8, hidden_channels=16, out_channels=4),
        queue_len=20,
    )
    cfg.update(options)
    return MODELS.build(cfg)


def samples(boxes: torch.Tensor) -> list:
    """Data samples from view boxes (N, V, 4)."""
    out = []
    for b in boxes:
        sample = DataSample()
        sample.set_field(b, 'view_boxes')
        out.append(sample)
    return out
