"""Benchmark runs: a downstream config, a checkpoint, the user's own data."""

from .coco_data import use_coco_data
from .options import add_arguments, build_config
from .run import fine_tune, test
from .segmentation_data import use_segmentation_data

__all__ = [
    'add_arguments',
    'build_config',
    'fine_tune',
    'test',
    'use_coco_data',
    'use_segmentation_data',
]
