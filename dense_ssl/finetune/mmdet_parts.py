"""What mmdet lacks of the papers' detection benchmarks. Needs mmdet."""

from mmcv.cnn import build_norm_layer
from mmdet.datasets import VOCDataset
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.roi_heads.shared_heads import ResLayer
from torch import Tensor

from dense_ssl.modules import AnyBands


class BandsDetDataPreprocessor(AnyBands, DetDataPreprocessor):
    """mmdet's for images of any number of bands."""


class ResLayerExtraNorm(ResLayer):
    """res5 of a C4 detector with one more norm behind it (MoCo, sec. 4.2).

    The extra norm is called ``norm``, as in detectron2.
    """

    def __init__(self, depth: int, *args, **kwargs) -> None:
        super().__init__(depth, *args, **kwargs)
        channels = 64 * 2**self.stage * (4 if depth >= 50 else 1)
        self.norm = build_norm_layer(self.norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """RoI features (R, C, 14, 14) -> (R, 2C, 7, 7)."""
        return self.norm(super().forward(x))


class VOCWithDifficult(VOCDataset):
    """Pascal VOC whose "difficult" objects are trained on like any other."""

    def _parse_instance_info(self, *args, **kwargs):
        instances = super()._parse_instance_info(*args, **kwargs)
        for instance in instances:
            instance['ignore_flag'] = 0
        return instances
