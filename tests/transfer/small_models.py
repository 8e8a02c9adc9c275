"""Small stand-ins of the models on both sides of a transfer."""

import torch
from mmcv.cnn import ConvModule
from torch import nn


class Downstream(nn.Module):
    """A model with a backbone and a head, like mmdet's and mmseg's."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = nn.Conv2d(4, 2, 1)


def resnet(depth: int = 18, **kwargs) -> nn.Module:
    """mmpretrain's plain ResNet, as pre-training uses it."""
    from mmpretrain.models import ResNet

    return ResNet(depth, **kwargs)


def distinct(module: nn.Module, seed: int = 1) -> dict:
    """A state dict in which every number of every tensor differs."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(tensor.shape, generator=generator)
        if tensor.is_floating_point()
        else torch.full_like(tensor, 7)
        for key, tensor in module.state_dict().items()
    }


def prefixed(prefix: str, state_dict: dict) -> dict:
    return {prefix + key: value for key, value in state_dict.items()}


class RegionHead(nn.Module):
    """Four 3x3 convolutions with BN, named as in MCL."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                ConvModule(channels, channels, 3, padding=1, norm_cfg=dict(type='BN'))
                for _ in range(4)
            ]
        )


def snapshot(model: nn.Module) -> dict:
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict) -> bool:
    return all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
