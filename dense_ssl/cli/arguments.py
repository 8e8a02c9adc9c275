"""The arguments of all tools: the same word means the same everywhere."""

import argparse
import itertools
import sys
from typing import Optional

from .options import OptionAction

__all__ = [
    'add_arguments',
    'add_label_arguments',
    'add_weight_arguments',
    'finetune_parser',
    'test_parser',
    'train_parser',
]


class _Parser(argparse.ArgumentParser):
    """Lets the config follow ``--data DIR``, which would take it for one more folder."""

    def parse_known_args(self, args=None, namespace=None):
        args = list(sys.argv[1:] if args is None else args)
        start = args.index('--data') + 2 if '--data' in args else len(args)
        words = list(itertools.takewhile(lambda word: word[:1] != '-', args[start:]))
        configs = [w.endswith(('.py', '.json', '.yaml', '.yml')) or '::' in w for w in words]
        if any(configs):
            start += configs.index(True)
            end = start + len(words) - configs.index(True)
            args = args[start:end] + args[:start] + args[end:]
        return super().parse_known_args(args, namespace)


def train_parser(description: Optional[str] = None) -> argparse.ArgumentParser:
    """Arguments of tools/train.py."""
    parser = _Parser(description=description)
    add_arguments(parser)
    _add_training_arguments(parser)
    parser.add_argument(
        '--init-from',
        metavar='FILE',
        help='start from these weights: our own, supervised, or released '
        'ones of a known layout (see tools/convert/import_checkpoint.py); '
        'not used where a run is resumed',
    )
    parser.add_argument(
        '--init-parts',
        metavar='A,B',
        help='networks to fill, e.g. backbone,neck; by default all that the file has',
    )
    parser.add_argument(
        '--probe',
        metavar='DIR',
        help='label maps by which the frozen backbone is scored while it trains: img_dir/ and '
        'ann_dir/, or Cityscapes layout',
    )
    parser.add_argument(
        '--seg-classes', metavar='N|A,B,C', help='number of their classes, or the names'
    )
    parser.add_argument(
        '--probe-every',
        type=int,
        metavar='N',
        help='iterations between two probes; default: a tenth of the training',
    )
    parser.add_argument(
        '--probe-scale',
        type=int,
        nargs=2,
        default=(512, 384),
        metavar=('LONG', 'SHORT'),
        help='pixels that its images are fitted into',
    )
    parser.add_argument(
        '--keep-best',
        action='store_true',
        help='keep the weights of the best probe, in best_probe_mIoU.pth',
    )
    return parser


def finetune_parser(description: Optional[str] = None) -> argparse.ArgumentParser:
    """Arguments of tools/finetune.py."""
    parser = _Parser(description=description)
    add_arguments(parser)
    _add_training_arguments(parser)
    parser.add_argument(
        '--init-from',
        '--checkpoint',
        required=True,
        metavar='FILE',
        help='pre-training checkpoint as it is, or the word "random"',
    )
    add_weight_arguments(parser)
    add_label_arguments(parser)
    parser.add_argument(
        '--accept-recipe',
        action='store_true',
        help='train by a recipe that check_transfer.py finds fault with',
    )
    return parser


def test_parser(description: Optional[str] = None) -> argparse.ArgumentParser:
    """Arguments of tools/test.py."""
    parser = _Parser(description=description)
    add_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint of the model that the config describes')
    add_label_arguments(parser)
    parser.add_argument('--out', help='file for the predictions or metrics')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], default='pred', help='what --out holds'
    )
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every tool takes."""
    parser.add_argument('config', help='config file, or package::path')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument(
        '--data',
        nargs='+',
        metavar='DIR',
        help='where the data lie: for pre-training a folder of images, a list of them or a pack '
        '(*.tar), or several of such; else the root of data laid out as the config wants them',
    )
    parser.add_argument('--view-size', type=int, metavar='N', help='pixels of a view, pre-training')
    parser.add_argument(
        '--channels',
        type=int,
        metavar='N',
        help='bands of the images, where they are not RGB: 1 for gray, more of TIFF files or .npy',
    )
    parser.add_argument('--batch-size', type=int, metavar='N', help='images per process and step')
    parser.add_argument(
        '--workers', type=int, metavar='N', help='data-loading processes of each loader'
    )
    parser.add_argument('--seed', type=int, help='of weights, order and crops')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='override config keys: key=value ...; a list is key=a,b or '
        'key="[a,b]", an entry of a list is key.0.name=value. A key that does not exist is '
        'refused; a new one is written +key=value.',
    )
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin host memory in data loaders'
    )
    parser.add_argument(
        '--tensorboard', action='store_true', help='also write TensorBoard event files'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    # torch.distributed.launch gives this; torchrun does not.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """What pre-training and fine-tuning take."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=int, help='length of training; schedules follow')
    length.add_argument('--iters', type=int, help='the same for configs that count iterations')
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='FILE',
        help='go on from this checkpoint; without a path, from the newest readable one in the '
        'work folder',
    )
    start.add_argument(
        '--overwrite',
        action='store_true',
        help='start anew in a work folder that holds a run, and take its checkpoints away',
    )
    parser.add_argument(
        '--save-every',
        type=int,
        metavar='N',
        help='save every N iterations too, besides the checkpoints that the config asks for: a '
        'run that dies loses no more than that. One file, stopped.pth, for --resume',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='float16',
        choices=['float16', 'bfloat16'],
        help='mixed precision, float16 unless stated; on a CPU bfloat16 only',
    )
    parser.add_argument(
        '--accumulate',
        type=int,
        metavar='N',
        help='an optimiser step every N iterations, gradients averaged',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by actual over base batch size',
    )
    parser.add_argument(
        '--channels-last',
        action='store_true',
        help='memory layout that suits tensor cores; worth it with --amp',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='torch.compile the backbones: minutes at the start, faster steps',
    )
    parser.add_argument(
        '--checkpoint-activations',
        action='store_true',
        help='compute the backbone again in the backward pass: less '
        'memory, about a quarter more time',
    )
    parser.add_argument(
        '--color',
        '--colour',
        choices=['device', 'workers'],
        help='where views get their colors changed: on the training device, '
        'in batches, or in the loader workers; the same operations and '
        'draws. Default: on the device if that is a GPU',
    )
    parser.add_argument('--no-validate', action='store_true', help='no validation during training')
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start data loader workers anew every epoch',
    )


def add_weight_arguments(parser: argparse.ArgumentParser) -> None:
    """Which weights of a pre-training checkpoint go into a downstream model."""
    parser.add_argument(
        '--init-parts',
        '--parts',
        default='auto',
        metavar='A,B',
        help='auto, or names with commas: backbone,neck,region_head',
    )
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument(
        '--backbone-prefix', help='where the backbone lies in a file that is not ours'
    )


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Own labelled data for a downstream config, and how to shrink it."""
    parser.add_argument('--coco-ann', metavar='JSON', help='own COCO instances to train on')
    parser.add_argument('--coco-images', metavar='DIR', help='their images')
    parser.add_argument(
        '--coco-val-ann',
        metavar='JSON',
        help='the same for validation (default: every fifth image is kept)',
    )
    parser.add_argument('--coco-val-images', metavar='DIR')
    parser.add_argument(
        '--seg-data',
        metavar='DIR',
        help='own label maps: img_dir/ and ann_dir/, or Cityscapes layout',
    )
    parser.add_argument(
        '--seg-classes', metavar='N|A,B,C', help='number of classes, or their names'
    )
    parser.add_argument(
        '--accept-absent-classes',
        action='store_true',
        help='go on where no label map of a split has one of them',
    )
    parser.add_argument(
        '--image-folder',
        metavar='DIR',
        help='own classified images: train/CLASS/*.jpg, val/CLASS/*.jpg',
    )
    parser.add_argument(
        '--scale',
        type=int,
        nargs=2,
        metavar=('LONG', 'SHORT'),
        help='resize images into this many pixels',
    )
    parser.add_argument(
        '--crop',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='segmentation: training crops; tests whole images',
    )
    parser.add_argument(
        '--small',
        type=int,
        nargs='?',
        const=128,
        metavar='WIDTH',
        help='ResNet-18, heads of this width, few proposals: for CPUs',
    )
    parser.add_argument(
        '--small-depth',
        type=int,
        choices=[18, 34, 50, 101],
        default=18,
        help='another ResNet for --small',
    )
    parser.add_argument(
        '--small-base-channels',
        type=int,
        default=64,
        metavar='N',
        help='channels of its first stage (of ResNet-18) for --small; all others follow',
    )
