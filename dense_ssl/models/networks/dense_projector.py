"""DenseCL's global and dense projection heads."""

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS


class DenseProjection(NamedTuple):
    """What :class:`DenseProjector` returns; nothing is normalised yet.

    Attributes:
        global_ (Tensor): Image embedding g (N, D).
        dense (Tensor, optional): Map of embeddings d (N, D, S, S).
        pooled (Tensor, optional): Mean p of the map (N, D).
    """

    global_: Tensor
    dense: Optional[Tensor] = None
    pooled: Optional[Tensor] = None


@MODELS.register_module()
class DenseProjector(BaseModule):
    """Two projection heads in parallel (DenseCL, sec. 3.2, fig. 1).

    Global: average pooling, Linear, ReLU, Linear. Dense: (pooling to a grid,)
    the same with 1x1 convolutions, so that the map keeps its layout. There is
    no batch norm. As in the released code only the linear layers get Kaiming
    initialisation; the convolutions keep PyTorch's.

    Args:
        in_channels (int): Channels of the backbone's last map.
        hidden_channels (int): Defaults to 2048.
        out_channels (int): D. Defaults to 128.
        num_grid (int, optional): Pool the dense branch's input to S x S.
            None (default) keeps the map's size.
        with_dense (bool): False leaves the dense branch out: MoCo v2's head.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 2048,
        out_channels: int = 128,
        num_grid: Optional[int] = None,
        with_dense: bool = True,
        init_cfg: Union[dict, list, None] = dict(
            type='Kaiming',
            layer='Linear',
            mode='fan_in',
            nonlinearity='relu',
            distribution='normal',
        ),
    ) -> None:
        super().__init__(init_cfg)
        if num_grid is not None and num_grid < 1:
            raise UserError(f'num_grid={num_grid} must be 1 or more')
        self.out_channels = out_channels
        self.num_grid = num_grid
        self.with_dense = with_dense
        self.global_mlp = nn.Sequential(
            nn.Linear(in_channels, hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, out_channels),
        )
        if with_dense:
            self.dense_mlp = nn.Sequential(
                nn.Conv2d(in_channels, hidden_channels, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden_channels, out_channels, 1),
            )

    def forward(self, x: Union[Tensor, Sequence[Tensor]]) -> DenseProjection:
        """Project the (last) feature map (N, C, H, W)."""
        x = x if isinstance(x, Tensor) else x[-1]
        global_ = self.global_mlp(x.mean(dim=(2, 3)))
        if not self.with_dense:
            return DenseProjection(global_)
        if self.num_grid is not None:
            if self.num_grid > min(x.shape[-2:]):
                raise UserError(
                    f'num_grid={self.num_grid}: the feature map has only {x.shape[-2]} x '
                    f'{x.shape[-1]} cells to pool; use a smaller num_grid, or none, or larger views'
                )
            x = F.adaptive_avg_pool2d(x, self.num_grid)
        dense = self.dense_mlp(x)
        return DenseProjection(global_, dense, dense.mean(dim=(2, 3)))
