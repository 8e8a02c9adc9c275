"""From command-line arguments to a runner: what the tools share."""
import argparse
import difflib
import os
import os.path as osp
from typing import List

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .config_options import check_options, flatten

__all__ = ['add_common_arguments', 'load_config', 'merge_arguments',
           'prepare_devices', 'require_test_loop', 'retarget_data',
           'build_runner']


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of tools/train.py and tools/test.py alike."""
    parser.add_argument('config', help='config file, or package::path')
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument(
        '--no-pin-memory',
        action='store_true',
        help='do not pin host memory in data loaders')
    parser.add_argument(
        '--tensorboard',
        action='store_true',
        help='also write TensorBoard event files')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override config keys: key=value ...; a list is key=a,b or '
        'key="[a,b]", an entry of a list is key.0.name=value. Keys that '
        'nothing would read are refused. data_root=DIR retargets the '
        'training data, view_size=N resizes the views, and the learning '
        'rate follows train_cfg.max_epochs.')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(path: str) -> Config:
    """Read a config file, or ``package::relative/path.py``.

    Raises:
        FileNotFoundError: Names the file and the closest one in its folder.
    """
    if '::' in path:
        from mmengine.hub import get_config
        return get_config(path)
    if not osp.isfile(path):
        folder, name = osp.split(path)
        names = [n for n in os.listdir(folder or '.') if n.endswith('.py')
                 ] if osp.isdir(folder or '.') else []
        close = difflib.get_close_matches(name, names, n=1)
        hint = f' Did you mean {osp.join(folder, close[0])}?' if close else ''
        raise FileNotFoundError(f'no config file {path}.{hint}')
    return Config.fromfile(path)


def merge_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Merge the common options into ``cfg``, in place.

    Raises:
        ValueError: A ``--cfg-options`` key that nothing would read, an
            unusable work folder, TensorBoard asked for but not installed.
    """
    options = flatten(args.cfg_options or {})
    check_options(cfg, options, variables=('data_root', 'view_size'))
    cfg.merge_from_dict(options)
    if 'data_root' in options:
        retarget_data(cfg, options)
    if 'view_size' in options:
        resize_views(cfg, options['view_size'])
    if 'train_cfg.max_epochs' in options:
        fit_schedule(cfg, options)

    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    _check_work_dir(cfg.work_dir)
    for field in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        _complete_dataloader(cfg, field, args.no_pin_memory)
    if args.tensorboard:
        _add_tensorboard(cfg)


def require_test_loop(cfg: Config, path: str) -> None:
    """Raise ValueError where there is nothing to test with."""
    if cfg.get('test_dataloader') is None or cfg.get('test_cfg') is None:
        raise ValueError(
            f'{path} has no test loop (test_dataloader, test_cfg, '
            'test_evaluator). Pre-training is judged by transfer: see '
            'configs/benchmarks.')


def retarget_data(cfg: Config, options: dict) -> None:
    """Point the training data set at ``options['data_root']``.

    The configs copy their ``data_root`` into the data set when they are read.
    A queue sized for the preset's data is fitted to the new data, unless
    ``model.queue_len`` is given too.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if dataset is None:
        raise ValueError('--cfg-options data_root: this config has no '
                         'train_dataloader.dataset to point there.')
    while dataset.get('dataset') is not None:  # e.g. RepeatDataset
        dataset = dataset.dataset
    if 'train_dataloader.dataset.data_root' not in options:
        dataset.data_root = str(options['data_root'])
    if 'model.queue_len' not in options:
        for hook in cfg.get('custom_hooks') or []:
            if hook.get('type') == 'QueueLengthHook':
                hook.if_longer = 'fit'


def resize_views(cfg: Config, size) -> None:
    """Make all views of the training pipeline ``size`` pixels.

    Raises:
        ValueError: The pipeline has no GeometricMultiView.
    """
    views = [
        step for step in cfg.train_dataloader.dataset.pipeline
        if step['type'] == 'GeometricMultiView'
    ]
    if not views:
        raise ValueError('--cfg-options view_size: the training pipeline has '
                         'no GeometricMultiView.')
    for step in views:
        step.view_size = size


def fit_schedule(cfg: Config, options: dict) -> None:
    """Stretch the parameter schedules to a new number of epochs.

    A learning rate that ends with training shall do so when the length of
    training changes; warm-ups keep theirs while they fit, and go where no
    epoch is left for them. Schedules changed by ``options`` are left as they
    are.
    """
    schedules = [s for s in cfg.get('param_scheduler') or [] if s.by_epoch]
    epochs = cfg.train_cfg.max_epochs
    old = max((s.get('end', 0) for s in schedules), default=0)
    if any(k.startswith('param_scheduler') for k in options) or not old:
        return
    for s in schedules:
        begin, end = s.get('begin', 0), s.get('end', old)
        s.begin = min(begin, epochs - 1) if begin else begin
        s.end = epochs if end == old else min(end, epochs - 1)
        if s.get('T_max') == end - begin:
            s.T_max = s.end - s.begin
    # mmengine refuses a schedule without an epoch.
    cfg.param_scheduler = [
        s for s in cfg.param_scheduler
        if not s.by_epoch or s.end > s.get('begin', 0)
    ]


def _check_work_dir(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ValueError(f'--work-dir {path} cannot be made: '
                         f'{error.strerror or error}.') from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f'--work-dir {path} is not writable.')


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


def _add_tensorboard(cfg: Config) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ValueError('--tensorboard needs the package tensorboard: '
                         '`pip install tensorboard`.') from None
    visualizer = cfg.get('visualizer') or dict(type='UniversalVisualizer')
    visualizer = ConfigDict(visualizer)
    backends = list(
        visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    if all(b['type'] != 'TensorboardVisBackend' for b in backends):
        backends.append(dict(type='TensorboardVisBackend'))
    visualizer.vis_backends = backends
    cfg.visualizer = visualizer


def prepare_devices(cfg: Config) -> List[str]:
    """Settle backend and batch norm for the devices at hand, in place.

    With CUDA the config's choice stands (nccl by default). Without, several
    processes talk through gloo, and batch norm stays per process: torch's
    SyncBatchNorm refuses CPU tensors.

    Returns:
        What was changed, one line each, for the log.

    Raises:
        ValueError: A launcher other than torchrun without CUDA.
    """
    if torch.cuda.is_available() or cfg.launcher == 'none':
        return []
    if cfg.launcher != 'pytorch':
        raise ValueError(f'--launcher {cfg.launcher} needs CUDA devices, and '
                         'there is none. On CPU use tools/dist_train.sh.')
    notes = ['No CUDA device: processes communicate through gloo.']
    cfg.setdefault('env_cfg', ConfigDict())
    cfg.env_cfg['dist_cfg'] = dict(backend='gloo')
    if cfg.get('sync_bn') is not None:
        cfg.sync_bn = None
        notes.append('No CUDA device: batch norm stays per process (plain '
                     'BN), sync_bn is ignored.')
    # mmengine would hand DistributedDataParallel a CUDA device index.
    wrapper = ConfigDict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    wrapper.device_ids = None
    cfg.model_wrapper_cfg = wrapper
    if not dist.is_initialized():
        # mmengine's own start selects a CUDA device whatever the backend;
        # it skips that where a process group exists.
        dist.init_process_group(backend='gloo')
    return notes


def build_runner(cfg: Config, notes: List[str]) -> Runner:
    """Build the runner and log ``notes`` into its log."""
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    for note in notes:
        runner.logger.info(note)
    return runner
