"""From command-line arguments to a runner: what the tools share."""

import argparse
import copy
import math
import os
import os.path as osp

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from dense_ssl.engine.processes import prepare_devices
from dense_ssl.errors import MissingFile, UserError

from .config_file import load_config
from .config_options import check_options, flatten, open_sections
from .option_action import OptionAction

__all__ = [
    'add_common_arguments',
    'add_tensorboard',
    'check_work_dir',
    'load_config',
    'merge_arguments',
    'prepare_devices',
    'require_test_loop',
    'retarget_data',
    'set_resume',
    'build_runner',
]


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of tools/train.py and tools/test.py alike."""
    parser.add_argument('config', help='config file, or package::path')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin host memory in data loaders'
    )
    parser.add_argument(
        '--tensorboard', action='store_true', help='also write TensorBoard event files'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='override config keys: key=value ...; a list is key=a,b or '
        'key="[a,b]", an entry of a list is key.0.name=value. Keys that '
        'nothing would read are refused. data_root=DIR retargets the '
        'training data, view_size=N resizes the views, and the learning '
        'rate follows train_cfg.max_epochs.',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def merge_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Merge the common options into ``cfg``, in place.

    Raises:
        UserError: A ``--cfg-options`` key that nothing would read, an
            unusable work folder, TensorBoard asked for but not installed.
    """
    options = flatten(args.cfg_options or {})
    check_options(cfg, options, variables=('data_root', 'view_size'))
    open_sections(cfg, options)
    schedules = copy.deepcopy(cfg.get('param_scheduler') or [])
    cfg.merge_from_dict(options)
    if 'data_root' in options:
        retarget_data(cfg, options)
    if 'model.queue_len' in options:  # what the user asks for is kept to
        _set_if_longer(cfg, 'error', options)
    if 'view_size' in options:
        resize_views(cfg, options['view_size'])
    if 'train_cfg.max_epochs' in options:
        fit_schedule(cfg, schedules, options)

    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    check_work_dir(cfg.work_dir)
    os.makedirs(cfg.work_dir, exist_ok=True)
    for field in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        _complete_dataloader(cfg, field, args.no_pin_memory)
    if args.tensorboard:
        add_tensorboard(cfg)


def require_test_loop(cfg: Config, path: str) -> None:
    """Raise ValueError where there is nothing to test with."""
    if cfg.get('test_dataloader') is None or cfg.get('test_cfg') is None:
        raise UserError(
            f'{path} has no test loop (test_dataloader, test_cfg, '
            'test_evaluator). Pre-training is judged by transfer: see '
            'configs/benchmarks.'
        )


def retarget_data(cfg: Config, options: dict) -> None:
    """Point the training data set at ``options['data_root']``.

    The configs copy their ``data_root`` into the data set when they are read.
    A queue sized for the preset's data is fitted to the new data, unless
    ``model.queue_len`` is given too.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if dataset is None:
        raise UserError(
            '--cfg-options data_root: this config has no train_dataloader.dataset to point there.'
        )
    while dataset.get('dataset') is not None:  # e.g. RepeatDataset
        dataset = dataset.dataset
    if 'train_dataloader.dataset.data_root' not in options:
        dataset.data_root = str(options['data_root'])
    if 'model.queue_len' not in options:
        _set_if_longer(cfg, 'fit', options)


def _set_if_longer(cfg: Config, what: str, options: dict) -> None:
    """What QueueLengthHook does, unless ``options`` say it."""
    for i, hook in enumerate(cfg.get('custom_hooks') or []):
        given = f'custom_hooks.{i}.if_longer' in options
        if hook.get('type') == 'QueueLengthHook' and not given:
            hook.if_longer = what


def resize_views(cfg: Config, size) -> None:
    """Make all views of the training pipeline ``size`` pixels.

    Crops with a size of their own keep its ratio to the others'.

    Raises:
        UserError: ``size`` is no positive whole number, the pipeline has no
            GeometricMultiView, or a crop's size would be no whole number.
    """
    if not isinstance(size, int) or size < 1:
        raise UserError(
            f'--cfg-options view_size={size}: a number of pixels is needed, e.g. view_size=96'
        )
    views = [
        step
        for step in cfg.train_dataloader.dataset.pipeline
        if step['type'] == 'GeometricMultiView'
    ]
    if not views:
        raise UserError('--cfg-options view_size: the training pipeline has no GeometricMultiView.')
    for view in views:
        crops = [step for pipeline in view.transforms for step in pipeline if 'scale' in step]
        for crop in crops:
            crop.scale = _resized(crop.scale, view.get('view_size'), size)
        view.view_size = size


def _resized(scale, old, new):
    """``scale`` * ``new`` / ``old``, all of them numbers of pixels."""
    if not all(isinstance(x, int) for x in (scale, old, new)):
        raise UserError(
            f'--cfg-options view_size={new}: a crop has the scale {scale}, '
            f'which was made for views of {old}; set the scales in a config'
        )
    resized, rest = divmod(scale * new, old)
    if rest or not resized:
        raise UserError(
            f'--cfg-options view_size={new}: a crop of {scale} pixels for '
            f'views of {old} becomes {scale * new / old:g}: take a multiple '
            f'of {old // math.gcd(scale, old)}'
        )
    return resized


def fit_schedule(cfg: Config, before: list, options: dict) -> None:
    """Stretch the parameter schedules to a new number of epochs.

    A learning rate that ends with training shall do so when the length of
    training changes; warm-ups keep theirs while they fit, and go where no
    epoch is left for them. What ``options`` say of a schedule stays.

    Args:
        cfg: The config with ``options`` merged into it.
        before: Its ``param_scheduler`` as it was before.
        options: Dotted keys and values.
    """
    after = cfg.get('param_scheduler') or []
    if not (isinstance(after, list) and len(after) == len(before)):
        return  # the user's own, or one for each of several optimisers
    epochs = cfg.train_cfg.max_epochs
    by_epoch = [s.get('by_epoch', True) for s in before]
    old = max((s.get('end', 0) for s, e in zip(before, by_epoch) if e), default=0)
    if 'param_scheduler' in options or not old:
        return
    for i, (was, s) in enumerate(zip(before, after)):
        if not by_epoch[i]:
            continue

        def fit(name, value, i=i, s=s):
            if f'param_scheduler.{i}.{name}' not in options:
                s[name] = value

        begin, end = was.get('begin', 0), was.get('end', old)
        if begin:
            fit('begin', min(begin, epochs - 1))
        fit('end', epochs if end == old else min(end, epochs - 1))
        if was.get('T_max') == end - begin:
            fit('T_max', s.end - s.get('begin', 0))
    # mmengine refuses a schedule without an epoch.
    cfg.param_scheduler = [s for s, e in zip(after, by_epoch) if not e or s.end > s.get('begin', 0)]


def check_work_dir(path: str) -> None:
    """Raise ValueError where ``path`` cannot be made and written to."""
    made = osp.abspath(path)
    while not osp.lexists(made):
        made = osp.dirname(made)
    if not osp.isdir(made):
        raise UserError(f'--work-dir {path} cannot be made: {made} is not a folder.')
    if not os.access(made, os.W_OK | os.X_OK):
        raise UserError(f'--work-dir {path}: {made} is not writable.')


def set_resume(cfg: Config, resume: str) -> None:
    """Go on from a checkpoint, or from the last one (``'auto'``), in place.

    Raises:
        MissingFile: ``resume`` names no file.
    """
    if resume != 'auto' and not osp.isfile(resume):
        raise MissingFile(f'--resume {resume}: no such file.')
    cfg.resume = True
    cfg.load_from = None if resume == 'auto' else resume


def _complete_dataloader(cfg: Config, field: str, no_pin_memory: bool) -> None:
    """mmpretrain's defaults, where the config is silent."""
    if cfg.get(field) is None:
        return
    loader = cfg[field]
    loader.setdefault('pin_memory', True)
    loader.setdefault('persistent_workers', True)
    loader.setdefault('collate_fn', dict(type='collate_views'))
    if no_pin_memory or not torch.cuda.is_available():
        loader.pin_memory = False  # torch would only warn about it
    if loader.get('num_workers', 0) == 0:  # torch refuses both without workers
        loader.persistent_workers = False
        loader.pop('prefetch_factor', None)


def add_tensorboard(cfg: Config) -> None:
    """Write TensorBoard event files too; ValueError without the package."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            '--tensorboard needs the package tensorboard: `pip install tensorboard`.'
        ) from None
    visualizer = cfg.get('visualizer') or dict(type='UniversalVisualizer')
    visualizer = ConfigDict(visualizer)
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    if all(b['type'] != 'TensorboardVisBackend' for b in backends):
        backends.append(dict(type='TensorboardVisBackend'))
    visualizer.vis_backends = backends
    cfg.visualizer = visualizer


def build_runner(cfg: Config, notes: list[str]) -> Runner:
    """Build the runner and log ``notes`` into its log."""
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    for note in notes:
        runner.logger.info(note)
    return runner
