"""Benchmark runs: a downstream config, a checkpoint, the user's own data."""

from dense_ssl.cli.finetune_options import add_arguments, build_config

from .data.coco import use_coco_data
from .data.label_maps import use_segmentation_data
from .run import fine_tune, test

__all__ = [
    'add_arguments',
    'build_config',
    'fine_tune',
    'test',
    'use_coco_data',
    'use_segmentation_data',
]
