"""Maps of a frozen backbone, as a downstream model would see them."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from dense_ssl.errors import UserError

__all__ = ['cells', 'renew_norms']


def renew_norms(backbone: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take the statistics of batch norm from these images, then switch to evaluation.

    Crops and colours of pre-training have other statistics than images as they are; random
    weights have none at all.

    Args:
        backbone: Changed in place.
        batches: Images (N, 3, H, W); the statistics are the mean over the batches.
    """
    update_bn(batches, backbone)
    backbone.eval()


@torch.no_grad()
def cells(backbone: nn.Module, images: Tensor, stages: Sequence[int]) -> Tensor:
    """Features of all cells, coarser maps enlarged to the finest one.

    Args:
        backbone: In evaluation mode.
        images: (N, 3, H, W).
        stages: Which of the backbone's maps, in its order.

    Returns:
        Tensor: (N, sum of the channels, h, w) of the finest of them.

    Raises:
        UserError: A stage that the backbone does not give.
    """
    maps = backbone(images)
    if not all(-len(maps) <= stage < len(maps) for stage in stages):
        raise UserError(f'stages={tuple(stages)}: the backbone gives {len(maps)} maps')
    chosen = [maps[stage] for stage in stages]
    grid = max((m.shape[-2:] for m in chosen), key=lambda shape: shape[0])
    return torch.cat(
        [
            m if m.shape[-2:] == grid else F.interpolate(m, grid, mode='bilinear')
            for m in (m.float() for m in chosen)
        ],
        dim=1,
    )
