"""Convolutional towers of dense detectors, for pre-training."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from dense_ssl.registry import MODELS


@MODELS.register_module()
class DenseTower(BaseModule):
    """Classification and regression towers of FCOS or RetinaNet.

    Both towers run on every level with shared weights. Their names, and the
    shapes of their weights, are those of mmdet's ``bbox_head.cls_convs`` and
    ``bbox_head.reg_convs`` for the same ``norm_cfg``.

    Args:
        in_channels (int): Channels of the FPN.
        feat_channels (int): Defaults to 256.
        stacked_convs (int): Depth. Defaults to 3: the head up to its third
            3x3 convolution is pre-trained (PixPro, sec. 3.4).
        norm_cfg (dict, optional): Defaults to batch norm; None for a
            detector without norms in its head (then with bias).
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 3,
        norm_cfg: dict = dict(type='BN'),
    ) -> None:
        super().__init__()

        def tower() -> nn.ModuleList:
            return nn.ModuleList(
                ConvModule(
                    feat_channels if i else in_channels,
                    feat_channels,
                    3,
                    padding=1,
                    norm_cfg=norm_cfg,
                )
                for i in range(stacked_convs)
            )

        self.cls_convs = tower()
        self.reg_convs = tower()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """L maps (N, C, H, W) to 2 L maps (N, C', H, W).

        Those of the classification tower come first.
        """
        out = []
        for tower in (self.cls_convs, self.reg_convs):
            for x in maps:
                for conv in tower:
                    x = conv(x)
                out.append(x)
        return out
