"""What ``dense_ssl.transfer.benchmarks`` offered in version 0.1, kept until version 0.3."""

import argparse

from dense_ssl.finetune import fine_tune, test, use_coco_data, use_segmentation_data

from . import arguments
from .build import build_config

__all__ = [
    'add_arguments',
    'build_config',
    'fine_tune',
    'test',
    'use_coco_data',
    'use_segmentation_data',
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that training and testing shared."""
    arguments.add_arguments(parser)
    arguments.add_label_arguments(parser)
    for name in ('--epochs', '--iters'):
        parser.add_argument(name, type=int)
