"""MCL's head on the cells of a montage."""

from typing import Union

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpretrain.models import NonLinearNeck
from torch import Tensor, nn

from dense_ssl.registry import MODELS

from ..montage import cut_cells


@MODELS.register_module()
class RegionHead(BaseModule):
    """Embed each cell of a feature map on its own (MCL, arXiv 2304.02010).

    The map is cut first, so the convolutions see zeros beyond a cell's
    border and nothing leaks from one image of a montage to the next. Then
    ``num_convs`` times Conv3x3, BN, ReLU; average pooling; Linear, BN, ReLU,
    Linear, BN without affine.

    The convolutions have the structure and names (``convs.{i}.conv``,
    ``convs.{i}.bn``) of the shared ones of mmdet's 4conv1fc box head, and
    like there a cell is what an RoI is: 7x7 for 224 pixels.

    Args:
        in_channels (int): Channels of the map. Defaults to 256.
        conv_channels (int): Defaults to 256.
        num_convs (int): Defaults to 4.
        hidden_channels (int): Defaults to 2048.
        out_channels (int): D. Defaults to 256.
        norm_cfg (dict, optional): Norm of the convolutions. The linear layers
            have BN1d.
    """

    def __init__(
        self,
        in_channels: int = 256,
        conv_channels: int = 256,
        num_convs: int = 4,
        hidden_channels: int = 2048,
        out_channels: int = 256,
        norm_cfg: Union[dict, None] = dict(type='BN'),
        init_cfg: Union[dict, list, None] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = out_channels
        self.convs = nn.Sequential(
            *(
                ConvModule(
                    conv_channels if i else in_channels,
                    conv_channels,
                    3,
                    padding=1,
                    norm_cfg=norm_cfg,
                    act_cfg=dict(type='ReLU'),
                )
                for i in range(num_convs)
            )
        )
        self.mlp = NonLinearNeck(
            conv_channels if num_convs else in_channels,
            hidden_channels,
            out_channels,
            with_bias=True,
            with_last_bias=True,
            with_last_bn_affine=False,
            norm_cfg=dict(type='BN1d'),
        )

    def forward(self, x: Tensor, ratio: int = 1) -> Tensor:
        """Embed the ratio x ratio cells of each map.

        Args:
            x (Tensor): (N, C, H, W).
            ratio (int): Cells per side.

        Returns:
            Tensor: (N * ratio^2, D), cells row-major.

        Raises:
            UserError: If the map does not cut into equal cells.
        """
        x = self.convs(cut_cells(x, ratio))
        return self.mlp((x,))[0]  # pools first
