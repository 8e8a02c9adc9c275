"""Fine-tuning mmdet and mmseg models from a checkpoint, on the user's own data."""

from .data.coco import use_coco_data
from .data.label_maps import use_segmentation_data
from .precise_batch_norm import PreciseBatchNormHook
from .run import fine_tune, test
from .voc_metric import VOCDetectionMetric

__all__ = [
    'PreciseBatchNormHook',
    'VOCDetectionMetric',
    'fine_tune',
    'test',
    'use_coco_data',
    'use_segmentation_data',
]
