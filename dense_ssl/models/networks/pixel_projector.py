"""PixPro's projection head, on one map or one for each level."""

from collections.abc import Sequence
from typing import Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS


@MODELS.register_module()
class PixelProjector(BaseModule):
    """Conv1x1, BN, ReLU, Conv1x1 on every cell (PixPro, sec. 3.1).

    The layers keep PyTorch's initialisation, as in the released code. Each
    level has layers of its own: cells of different levels mean different
    things (so the authors' answer in issue 24 of their repository).

    Args:
        in_channels (int): Channels of the maps.
        hidden_channels (int): Defaults to 4096.
        out_channels (int): D. Defaults to 256.
        num_levels (int): Number of maps. Defaults to 1.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 4096,
        out_channels: int = 256,
        num_levels: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.mlps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, hidden_channels, 1),
                nn.BatchNorm2d(hidden_channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden_channels, out_channels, 1),
            )
            for _ in range(num_levels)
        )

    def forward(self, x: Union[Tensor, Sequence[Tensor]]) -> Union[Tensor, list[Tensor]]:
        """Project a map (N, C, H, W) to (N, D, H, W), or a map a level.

        Raises:
            UserError: If the number of maps is not ``num_levels``.
        """
        maps = [x] if isinstance(x, Tensor) else x
        if len(maps) != len(self.mlps):
            raise UserError(
                f'{len(maps)} feature maps for a projector with num_levels='
                f'{len(self.mlps)}: set projector.num_levels={len(maps)}'
            )
        out = [mlp(m) for mlp, m in zip(self.mlps, maps)]
        return out[0] if isinstance(x, Tensor) else out
