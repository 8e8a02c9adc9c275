"""Command-line options of the benchmark tools, and the config they give."""

import argparse
import os
import os.path as osp

from mmengine.config import Config
from mmengine.logging import print_log

from dense_ssl.cli.launch import add_tensorboard, check_work_dir, set_resume
from dense_ssl.cli.option_action import OptionAction
from dense_ssl.engine.processes import settle_devices
from dense_ssl.errors import TransferError
from dense_ssl.finetune import edits as adjust
from dense_ssl.finetune.absent_metrics import leave_out_absent_metrics
from dense_ssl.finetune.data.class_folders import use_image_folder
from dense_ssl.finetune.data.coco import use_coco_data
from dense_ssl.finetune.data.label_maps import parse_classes, use_segmentation_data
from dense_ssl.finetune.small import make_small

from .merge_options import as_transfer_error, load_config, merge_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that training and testing share."""
    parser.add_argument('config', help='config file, or mmdet::..., mmseg::...')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
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
    parser.add_argument('--iters', type=int, help='shrink the whole schedule to this')
    parser.add_argument('--epochs', type=int, help='the same for configs that count epochs')
    parser.add_argument('--batch-size', type=int, help='training images per process')
    parser.add_argument('--workers', type=int, help='data-loading processes of each loader')
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
    parser.add_argument('--seed', type=int, help='of weights, order and crops')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='further settings of the config, as key=value. Keys that '
        'nothing would read are refused; data_root=DIR moves the data sets',
    )
    parser.add_argument(
        '--tensorboard', action='store_true', help='also write TensorBoard event files'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch gives this; torchrun does not.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


def build_config(args: argparse.Namespace) -> Config:
    """The config that the options ask for.

    Raises:
        TransferError: A file is missing, an option does not fit the config.
    """
    cfg = load_config(args.config)
    cfg.launcher = args.launcher
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    )
    with as_transfer_error():
        check_work_dir(cfg.work_dir)
        if getattr(args, 'resume', None):
            set_resume(cfg, args.resume)
        notes = settle_devices(cfg)
        if getattr(args, 'tensorboard', False):
            add_tensorboard(cfg)
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    if args.small is not None:
        make_small(cfg, args.small, getattr(args, 'small_depth', 18))
    if args.scale:
        adjust.set_scale(cfg, *args.scale)
    if args.crop:
        adjust.set_crop(cfg, *args.crop)
    if args.iters is not None:
        adjust.set_iterations(cfg, args.iters)
    if getattr(args, 'epochs', None) is not None:
        adjust.set_epochs(cfg, args.epochs)
    if args.batch_size is not None:
        adjust.set_batch_size(cfg, args.batch_size)
    if args.workers is not None:
        adjust.set_workers(cfg, args.workers)
    _use_data(cfg, args)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    leave_out_absent_metrics(cfg)
    for note in notes if os.environ.get('RANK', '0') == '0' else ():
        print_log(note, 'current')
    return cfg


def _use_data(cfg: Config, args: argparse.Namespace) -> None:
    if args.coco_ann and args.seg_data:
        raise TransferError('give --coco-ann or --seg-data, not both.')
    if bool(args.coco_ann) != bool(args.coco_images):
        raise TransferError('--coco-ann and --coco-images go together.')
    if args.coco_val_ann and not args.coco_ann:
        raise TransferError('--coco-val-ann needs --coco-ann as well.')
    if args.coco_ann and cfg.get('default_scope') != 'mmdet':
        raise TransferError(f'--coco-ann is for mmdet configs, {args.config} is none.')
    if args.seg_data and cfg.get('default_scope') != 'mmseg':
        raise TransferError(f'--seg-data is for mmseg configs, {args.config} is none.')
    if getattr(args, 'image_folder', None):
        if cfg.get('default_scope') != 'mmpretrain':
            raise TransferError(f'--image-folder is for mmpretrain configs, {args.config} is none.')
        use_image_folder(cfg, args.image_folder)
    if args.coco_ann:
        use_coco_data(cfg, args.coco_ann, args.coco_images, args.coco_val_ann, args.coco_val_images)
    if args.seg_data:
        use_segmentation_data(cfg, args.seg_data, parse_classes(args.seg_classes))
    elif args.seg_classes:
        raise TransferError('--seg-classes needs --seg-data as well.')
