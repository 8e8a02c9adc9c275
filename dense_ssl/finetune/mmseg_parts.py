"""What mmseg lacks of the segmentation benchmarks. Needs mmseg."""

from collections.abc import Sequence
from typing import Optional

from mmcv.cnn import build_norm_layer
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from dense_ssl.modules import AnyBands


class BandsSegDataPreProcessor(AnyBands, SegDataPreProcessor):
    """mmseg's for images of any number of bands."""


class LinearHead(BaseDecodeHead):
    """A norm and a 1x1 convolution: what a linear probe trains."""

    def __init__(self, in_channels: int, norm_cfg: Optional[dict] = None, **kwargs) -> None:
        super().__init__(in_channels=in_channels, channels=in_channels, norm_cfg=norm_cfg, **kwargs)
        self.norm = build_norm_layer(norm_cfg or dict(type='BN'), in_channels)[1]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone maps -> logits (N, num_classes, H, W)."""
        return self.cls_seg(self.norm(self._transform_inputs(inputs)))
