"""From arguments to a config, and from a config to a runner."""

import argparse
import os
import os.path as osp
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from dense_ssl.config_tree import type_name
from dense_ssl.errors import MissingFile, UserError
from dense_ssl.finetune.absent_metrics import leave_out_absent_metrics
from dense_ssl.finetune.data import use_labels
from dense_ssl.finetune.data.label_maps import parse_classes, read_layout
from dense_ssl.finetune.data.named import check_named_labels
from dense_ssl.finetune.edits import set_crop, set_scale
from dense_ssl.finetune.small import make_small

from . import flags
from .channels import measure_bands, set_channels
from .config import load_config
from .options import flatten, merge_options
from .schedule import fit_cosines, set_length, whole_cosines

__all__ = [
    'apply_training',
    'build_config',
    'build_runner',
    'probe_amid',
    'require_test_loop',
    'start_from',
]

#: Keys that stand for a flag: they are in people's scripts.
_ALIASES = {
    'data_root': 'data',
    'work_dir': 'work_dir',
    'view_size': 'view_size',
    'train_cfg.max_epochs': 'epochs',
    'train_cfg.max_iters': 'iters',
}


def build_config(args: argparse.Namespace) -> Config:
    """The config that a tool's arguments ask for.

    What flags change comes first, then ``--cfg-options``, which win.

    Args:
        args: Of a parser with :func:`~.arguments.add_arguments` and any of the others.

    Raises:
        UserError: Names the argument or key, and the remedy.
    """
    cfg = load_config(args.config)
    args = argparse.Namespace(**vars(args))
    options = flatten(args.cfg_options or {})
    _take_aliases(cfg, args, options)
    _set_up(cfg, args)
    _apply(cfg, args)
    apply_training(cfg, args)
    whole = whole_cosines(cfg)
    merge_options(cfg, options)
    if any('custom_imports' in key for key in options):  # else read with the file only
        import_modules_from_strings(**cfg.custom_imports)
    fit_cosines(cfg, whole, options)
    flags.set_white_level(cfg)
    measure_bands(cfg)
    if any(key.lstrip('+') == 'model.queue_len' for key in options):
        _keep_queue(cfg)
    leave_out_absent_metrics(cfg)
    if not any(vars(args).get(name, True) for name in ('coco_ann', 'seg_data', 'image_folder')):
        check_named_labels(cfg)
    return cfg


def _take_aliases(cfg: Config, args: argparse.Namespace, options: dict[str, Any]) -> None:
    """Move options that stand for flags to ``args``, in place."""
    other_loop = {'train_cfg.type', 'train_cfg.by_epoch', 'train_cfg'} & options.keys()
    for key, flag in _ALIASES.items():
        given = next((k for k in (key, f'+{key}') if k in options), None)
        if given is None or not hasattr(args, flag):
            continue
        if key.startswith('train_cfg') and (other_loop or key[10:] not in cfg.train_cfg):
            continue
        value, name = options.pop(given), f'--{flag.replace("_", "-")}'
        if value is None:
            raise UserError(f'--cfg-options {key}={value}: a value is needed.')
        if getattr(args, flag) is not None:
            raise UserError(f'{name} and --cfg-options {key} say the same: give one.')
        setattr(args, flag, value)


def _set_up(cfg: Config, args: argparse.Namespace) -> None:
    cfg.launcher = args.launcher
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    _check_work_dir(cfg.work_dir)
    cfg.setdefault('runner_type', 'dense_ssl.DenseRunner')


def _check_work_dir(path: str) -> None:
    """Raise UserError where ``path`` cannot be made and written to."""
    made = osp.abspath(path)
    while not osp.lexists(made):
        made = osp.dirname(made)
    if not osp.isdir(made):
        raise UserError(f'--work-dir {path} cannot be made: {made} is not a folder.')
    if not os.access(made, os.W_OK | os.X_OK):
        raise UserError(f'--work-dir {path}: {made} is not writable.')


def _apply(cfg: Config, args: argparse.Namespace) -> None:
    """What comes before ``--cfg-options``."""
    given = vars(args)
    if given.get('small') is not None:
        make_small(cfg, args.small, args.small_depth, args.small_base_channels)
    if given.get('scale'):
        set_scale(cfg, *args.scale)
    if given.get('crop'):
        set_crop(cfg, *args.crop)
    if given.get('epochs') is not None or given.get('iters') is not None:
        set_length(cfg, args.epochs, args.iters)
    for name, change in (
        ('data', flags.set_data),
        ('view_size', flags.set_view_size),
        ('channels', set_channels),
        ('batch_size', flags.set_batch_size if 'amp' in given else flags.set_test_batch_size),
        ('workers', flags.set_workers),
    ):
        if given.get(name) is not None:
            change(cfg, given[name])
    if args.seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': args.seed}
    if 'coco_ann' in given:
        use_labels(cfg, args)


def _keep_queue(cfg: Config) -> None:
    """A queue of the user's own length is not shortened."""
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(type_name(h).endswith(('FitCheckHook', 'QueueLengthHook')) for h in hooks):
        cfg.custom_hooks = [*hooks, dict(type='dense_ssl.FitCheckHook', long_queue='error')]


def apply_training(cfg: Config, args: argparse.Namespace) -> None:
    """How to train and to load, apart from lengths and sizes."""
    if args.tensorboard:
        flags.add_tensorboard(cfg)
    for split in flags.SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader and args.no_pin_memory:
            loader.pin_memory = False
        if loader and getattr(args, 'no_persistent_workers', False):
            loader.persistent_workers = False
    if not hasattr(args, 'amp'):  # nothing is trained
        return
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp is not None:
        flags.set_amp(cfg, args.amp)
    if args.save_every is not None:
        cfg.save_every = args.save_every
    if args.accumulate is not None:
        flags.set_accumulation(cfg, args.accumulate)
    if args.auto_scale_lr:
        flags.auto_scale_lr(cfg)
    flags.set_speed(cfg, args.channels_last, args.compile, args.checkpoint_activations, args.color)
    cfg.overwrite = args.overwrite or cfg.get('overwrite', False)
    if args.resume is not None:
        flags.set_resume(cfg, args.resume)


def start_from(cfg: Config, args: argparse.Namespace) -> None:
    """Let pre-training start from ``--init-from``, in place.

    Raises:
        UserError: The file does not exist, ``--init-parts`` is alone, or the config loads
            another file.
    """
    if args.init_from is None:
        if args.init_parts:
            raise UserError('--init-parts needs --init-from.')
        return
    if cfg.get('load_from') and not cfg.get('resume'):
        raise UserError(
            f'both --init-from ({args.init_from}) and load_from '
            f'({cfg.load_from}) were given: choose one.'
        )
    if not osp.isfile(args.init_from):
        raise MissingFile(f'--init-from {args.init_from}: no such file.')
    cfg.custom_hooks = list(cfg.get('custom_hooks') or []) + [
        dict(
            type='dense_ssl.transfer.init_from.InitFromHook',
            checkpoint=osp.abspath(args.init_from),
            parts=args.init_parts,
        )
    ]


def probe_amid(cfg: Config, args: argparse.Namespace) -> None:
    """Let a pre-training be scored on the label maps of ``--probe`` while it goes on, in place.

    Raises:
        UserError: The label maps cannot be used, or options of the probe are given without it.
    """
    if args.probe is None:
        if args.keep_best or args.probe_every or args.seg_classes:
            raise UserError('--keep-best, --probe-every and --seg-classes need --probe.')
        return
    maps = read_layout(args.probe, parse_classes(args.seg_classes))
    cfg.custom_hooks = list(cfg.get('custom_hooks') or []) + [
        dict(
            type='dense_ssl.evaluation.probe_hook.DenseProbeHook',
            **{split: [list(map(str, pair)) for pair in maps.pairs[split]] for split in maps.pairs},
            num_classes=maps.num_classes,
            interval=args.probe_every,
            scale=tuple(args.probe_scale),
            keep_best=args.keep_best,
        )
    ]


def require_test_loop(cfg: Config, path: str) -> None:
    """Raise UserError where there is nothing to test with."""
    if cfg.get('test_dataloader') is None or cfg.get('test_cfg') is None:
        raise UserError(
            f'{path} has no test loop (test_dataloader, test_cfg, '
            'test_evaluator). Pre-training is judged by transfer: see configs/benchmarks.'
        )


def build_runner(cfg: Config) -> Runner:
    """The runner that the config names."""
    return RUNNERS.build(cfg)
