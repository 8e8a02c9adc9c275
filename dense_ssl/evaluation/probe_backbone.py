"""The backbone that a probe looks at."""

import torch
from mmpretrain.models import ResNet
from torch import nn

from dense_ssl.models.algorithms.base import build_part

__all__ = ['probe_backbone']


def probe_backbone(cfg: dict, own_strides: bool = False) -> nn.Module:
    """A pre-training config's backbone; of a ResNet all four maps, finer than in training.

    The last stages of a ResNet are dilated to stride 8, as FCNs have them: its weights are the
    same. Its initial weights are drawn apart from the numbers of a training that goes on.

    Args:
        cfg: ``model.backbone``.
        own_strides: Leave the strides of a ResNet as they are.
    """
    with torch.random.fork_rng():
        torch.manual_seed(torch.initial_seed())
        backbone = build_part(cfg)
        if isinstance(backbone, ResNet):
            finer = {} if own_strides else dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
            torch.manual_seed(torch.initial_seed())
            backbone = build_part(dict(cfg, out_indices=(0, 1, 2, 3), **finer))
        backbone.init_weights()
    return backbone
