"""The options only tools/train.py has: mmpretrain's, and those for speed."""

import argparse
from typing import Optional

import torch
from mmengine.config import Config

from dense_ssl.engine.runner import checkpointed_stages
from dense_ssl.errors import UserError

from .device_color import leave_colours_to_device
from .launch import set_resume

__all__ = ['add_train_arguments', 'merge_train_arguments']


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without a path, from the last one in the work folder',
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
        '--colour',
        choices=['device', 'workers'],
        help='where views get their colours changed: on the training device, '
        'in batches, or in the loader workers; the same operations and '
        'draws. Default: on the device if that is a GPU',
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
        help='compute the online backbone again in the backward pass: less '
        'memory, about a quarter more time',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by actual over base batch size',
    )
    parser.add_argument('--no-validate', action='store_true', help='no validation during training')
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start data loader workers anew every epoch',
    )


def merge_train_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Merge the options into ``cfg``, in place.

    Raises:
        UserError: ``--amp`` without CUDA, ``--accumulate`` below 1,
            ``--colour device`` with another data preprocessor,
            ``--checkpoint-activations`` for a backbone that is no ResNet,
            ``--auto-scale-lr`` with a config that states no base batch size.
        MissingFile: ``--resume`` names no file.
    """
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.no_persistent_workers:
        for field in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(field) is not None:
                cfg[field].persistent_workers = False
    if args.amp is not None:
        _set_amp(cfg, args.amp)
    if args.accumulate is not None:
        if args.accumulate < 1:
            raise UserError(
                f'--accumulate {args.accumulate}: give a whole number of iterations from 1 on.'
            )
        counts = cfg.optim_wrapper.get('accumulative_counts', 1)
        cfg.optim_wrapper.accumulative_counts = args.accumulate
    _set_colour(cfg, args.colour)
    _set_speed(cfg, args)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError(
                '--auto-scale-lr: the config does not set auto_scale_lr.base_batch_size.'
            )
        cfg.auto_scale_lr.enable = True
        # mmengine compares the images of an iteration; with --accumulate a
        # step has more of them than the config's.
        if args.accumulate is not None:
            cfg.auto_scale_lr.base_batch_size *= counts / args.accumulate
    if args.resume is not None:
        set_resume(cfg, args.resume)


def _set_amp(cfg: Config, dtype: str) -> None:
    if dtype == 'float16' and not torch.cuda.is_available():
        raise UserError(
            '--amp float16 needs a CUDA device, and there is '
            'none: say --amp bfloat16, or leave --amp out to '
            'train in float32.'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.dtype = dtype
    # bfloat16 has float32's range: gradients need no scaling.
    scale = 'dynamic' if dtype == 'float16' else dict(enabled=False)
    cfg.optim_wrapper.setdefault('loss_scale', scale)


def _set_colour(cfg: Config, where: Optional[str]) -> None:
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor') or (
        cfg.get('data_preprocessor') or {}
    )
    able = str(preprocessor.get('type')).endswith('DenseDataPreprocessor')
    if where is None:
        if not (able and torch.cuda.is_available()):
            return
        where = 'device'
    if where == 'device' and not able:
        raise UserError(
            '--colour device needs data_preprocessor.type='
            "'DenseDataPreprocessor', which applies the colours."
        )
    leave_colours_to_device(cfg, where == 'device')


def _set_speed(cfg: Config, args: argparse.Namespace) -> None:
    speed = {}
    if args.channels_last:
        speed['channels_last'] = True
    if args.compile:
        speed['compile'] = True
    if args.checkpoint_activations:
        speed['checkpoint'] = checkpointed_stages(cfg.model.backbone)
    if speed:
        cfg.runner_type = 'dense_ssl.FastRunner'
        cfg.speed = {**(cfg.get('speed') or {}), **speed}
