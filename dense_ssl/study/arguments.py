"""The arguments of tools/compare.py."""

import argparse
from pathlib import Path
from typing import Optional

from .budget import BUDGETS
from .starts import RECIPES

__all__ = ['TASKS', 'compare_parser']

TASKS = ('probe', 'segmentation', 'detection')


def compare_parser(description: Optional[str] = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add('--work-dir', type=Path, required=True, metavar='DIR', help='folder of the study')
    add(
        '--images',
        metavar='DIR',
        help='images without labels to pre-train on: a folder, a list, or a pack (*.tar)',
    )
    add('--seg-data', type=Path, metavar='DIR', help='label maps: img_dir/ and ann_dir/')
    add('--seg-classes', metavar='N|A,B,C', help='number of classes, or their names')
    add('--coco-ann', type=Path, metavar='JSON', help='COCO instances to train on')
    add('--coco-images', type=Path, metavar='DIR', help='their images')
    add('--coco-val-ann', type=Path, metavar='JSON', help='the same to validate on')
    add('--coco-val-images', type=Path, metavar='DIR')
    add(
        '--methods',
        nargs='+',
        default=['random', 'mocov2', 'densecl'],
        metavar='START',
        help=f'random, {", ".join(RECIPES)}, a pre-training config, or a checkpoint; METHOD:NAME '
        'is a variant with its own --set, METHOD+FILE starts from weights',
    )
    add(
        '--set',
        nargs='+',
        action='extend',
        default=[],
        metavar='START.KEY=VALUE',
        help='config keys of one start, as --cfg-options of tools/train.py takes them',
    )
    add('--init-from', type=Path, metavar='FILE', help='weights that all methods start from')
    add('--seeds', type=int, default=3, metavar='N', help='runs of each start')
    add(
        '--labels',
        nargs='+',
        type=float,
        default=[1.0],
        metavar='PART',
        help='parts of the labels to fine-tune with, e.g. 1.0 0.25 0.1',
    )
    add('--tasks', nargs='+', choices=TASKS, help='what to compare by; default: all the data allow')
    add(
        '--budget',
        default='small',
        metavar='NAME|HOURSh',
        help=f'{", ".join(BUDGETS)}, or about how long the whole study may take, such as 6h',
    )
    for name, what in (
        ('depth', 'of the ResNet'),
        ('base-channels', 'of its first stage; 64 in a usual one'),
        ('iters', 'pre-training steps'),
        ('view-size', 'pixels of a pre-training view'),
        ('batch-size', 'images a pre-training step'),
        ('finetune-iters', 'fine-tuning steps'),
        ('finetune-batch', 'images a fine-tuning step'),
    ):
        add(f'--{name}', type=int, metavar='N', help=f'instead of the budget: {what}')
    add(
        '--scale',
        type=int,
        nargs=2,
        metavar=('LONG', 'SHORT'),
        help='instead of the budget: pixels that labelled images are resized into',
    )
    add('--gpus', type=int, metavar='N', help='GPUs to use, a cell each; default: all, 0: CPU')
    add('--jobs', type=int, default=1, metavar='N', help='cells side by side on a CPU')
    add('--workers', type=int, metavar='N', help='data-loading processes of a cell')
    add(
        '--slurm',
        nargs='*',
        metavar='KEY=VALUE',
        help='a Slurm job for each cell, by submitit: partition=gpu timeout_min=240 ...',
    )
    add(
        '--overwrite',
        action='store_true',
        help='run cells anew whose data or settings are others than in the folder',
    )
    add('--dry-run', action='store_true', help='check everything, list the cells, run nothing')
    return parser
