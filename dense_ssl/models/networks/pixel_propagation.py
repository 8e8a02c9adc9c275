"""The pixel propagation module (PPM)."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..precision import at_least_float32


@MODELS.register_module()
class PixelPropagation(BaseModule):
    r"""Each cell becomes a sum over the cells alike (PixPro, sec. 3.2).

    .. math:: y_i = \sum_j \max(\cos(x_i, x_j), 0)^\gamma \, g(x_j)

    over all cells j of the same map. As in the released code g(x_j) is made a
    unit vector before the sum, and the sum is not divided.

    Args:
        in_channels (int): Channels of the map.
        gamma (float): Sharpness. Below 1, 1e-6 is added before the power, for
            the sake of its gradient. Defaults to 2.
        transform_layers (int): Depth of g: 0 identity, 1 Conv1x1 (default),
            2 Conv1x1, BN, ReLU, Conv1x1.
        clamp (float): Least similarity; smaller ones are raised to it.
            Defaults to 0.

    Raises:
        UserError: If an option is out of range.
    """

    def __init__(
        self, in_channels: int, gamma: float = 2.0, transform_layers: int = 1, clamp: float = 0.0
    ) -> None:
        super().__init__()
        if gamma <= 0:
            raise UserError(f'gamma={gamma} must be positive')
        if not 0 <= clamp < 1:  # 1: all cells alike
            raise UserError(f'clamp={clamp} must lie in [0, 1)')
        self.gamma = gamma
        self.clamp = clamp
        self.value: nn.Module
        if transform_layers == 0:
            self.value = nn.Identity()
        elif transform_layers == 1:
            self.value = nn.Conv2d(in_channels, in_channels, 1)
        elif transform_layers == 2:
            self.value = nn.Sequential(
                nn.Conv2d(in_channels, in_channels, 1),
                nn.BatchNorm2d(in_channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(in_channels, in_channels, 1),
            )
        else:
            raise UserError(f'transform_layers={transform_layers}: use 0, 1 or 2')

    def forward(self, x: Tensor) -> Tensor:
        """Propagate within a map (N, C, H, W); same shape, not normalised."""
        unit = F.normalize(x.flatten(2), dim=1)
        similarity = (unit.transpose(1, 2) @ unit).clamp(min=self.clamp)
        if self.gamma < 1:
            # In half precision 1e-6 would all but vanish.
            similarity = at_least_float32(similarity) + 1e-6
        value = F.normalize(self.value(x).flatten(2), dim=1)
        # (N, C, S) by (N, S, S), which is symmetric
        return (value @ similarity.pow(self.gamma)).view_as(x)
