"""Fine-tuning and testing mmdet, mmseg and mmpretrain models from a checkpoint.

Runs, checks of recipes, edits of configs (own data, schedules, sizes), what mmdet and mmseg lack
of the papers' benchmarks, and the benchmarks' names, published figures and tables.
"""

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
