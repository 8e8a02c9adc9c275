"""What the flags of all tools change in a config, each in one place."""

import math
import os.path as osp
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch
from mmengine.config import Config, ConfigDict

from dense_ssl.config_tree import type_name
from dense_ssl.datasets import UnlabeledImages
from dense_ssl.engine.runner import checkpointed_stages
from dense_ssl.errors import MissingFile, UserError
from dense_ssl.finetune.edits import SPLITS, dicts
from dense_ssl.registry import DATASETS

__all__ = [
    'SPLITS',
    'add_tensorboard',
    'auto_scale_lr',
    'is_unlabeled',
    'set_accumulation',
    'set_amp',
    'set_batch_size',
    'set_data',
    'set_resume',
    'set_speed',
    'set_test_batch_size',
    'set_view_size',
    'set_workers',
]


def set_data(cfg: Config, data: Union[str, Sequence[str]]) -> None:
    """Point the data sets of all splits at ``data``, in place.

    The config's ``data_root`` is replaced wherever a path of a data set or an evaluator begins
    with it; a config without this variable has it in its training data set.

    Args:
        cfg: Any mmengine config.
        data: A folder; for a pre-training config also a pack (``*.tar``), a text file that
            lists images, absolute or relative to its own folder, or several of all these.

    Raises:
        UserError: A split's data set does not follow, or several are given to one that has
            labels.
    """
    root, *more = [data] if isinstance(data, str) else data
    sources = _sources(cfg)
    dataset = sources[0] if sources else None
    if len(sources) > 1 and cfg.get('default_scope') == 'dense_ssl':
        raise UserError(
            f'--data: this config joins {len(sources)} data sets, and which is meant is not clear. '
            'Images without labels need no joining: give all folders to one UnlabeledImages, '
            "data_root=['a', 'b'], or by --data a b."
        )
    if more:
        if dataset is None or not is_unlabeled(dataset):
            raise UserError(
                f'--data {root} {" ".join(more)}: only pre-training on images without labels takes '
                'several folders.'
            )
        dataset.data_root = [root, *more]
        dataset.pop('ann_file', None)
        return
    if dataset is not None and cfg.get('default_scope') == 'dense_ssl':  # pre-training
        if osp.isfile(root) and not root.endswith('.tar'):
            dataset.ann_file, root = osp.abspath(root), osp.dirname(osp.abspath(root))
        dataset.data_root = root
        return
    old = cfg.get('data_root') or (dataset or {}).get('data_root')
    if not old:
        raise UserError('--data: this config has no data_root, and no training data set with one.')
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader and not (isinstance(old, str) and old and _replace(loader, old, root)):
            raise UserError(
                f'--data: the data set of {split} does not follow it. Give your own data by '
                '--coco-ann, --seg-data or --image-folder of tools/finetune.py, or set '
                f'{split}_dataloader.dataset.… keys by --cfg-options.'
            )
        if cfg.get(f'{split}_evaluator'):
            _replace(cfg[f'{split}_evaluator'], old, root)


def is_unlabeled(dataset: Optional[dict]) -> bool:
    """Whether it is the config of images without labels."""
    kind = (dataset or {}).get('type')
    if isinstance(kind, str):
        try:
            kind = DATASETS.get(kind)
        except UserError:  # no data set at all
            return False
    return isinstance(kind, type) and issubclass(kind, UnlabeledImages)


def _sources(cfg: Config) -> list[ConfigDict]:
    """The training data sets inside of those that repeat or join others."""

    def inside(dataset: Optional[ConfigDict]) -> list[ConfigDict]:
        inner = [(dataset or {}).get('dataset'), *((dataset or {}).get('datasets') or ())]
        found = [source for each in inner if each is not None for source in inside(each)]
        return found or ([] if dataset is None else [dataset])

    return inside((cfg.get('train_dataloader') or {}).get('dataset'))


def _replace(node: Any, old: str, new: str) -> int:
    """How many strings below ``node`` were moved from ``old`` to ``new``."""
    moved = 0
    is_list = isinstance(node, list)
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) * is_list
    base = old.rstrip('/')
    for key, value in items:
        if isinstance(value, str):
            if value.rstrip('/') == base or value.startswith(base + '/'):
                node[key] = osp.join(new, value[len(base) :].lstrip('/'))
                moved += 1
        elif isinstance(value, (dict, list)):
            moved += _replace(value, old, new)
    return moved


def set_view_size(cfg: Config, size: int) -> None:
    """Make all views of the training pipeline ``size`` pixels, in place.

    Crops with a size of their own keep its ratio to the others'.

    Raises:
        UserError: ``size`` is no positive whole number, the pipeline makes no views, or a crop's
            size would be no whole number.
    """
    if not isinstance(size, int) or size < 1:
        raise UserError(f'--view-size {size}: a number of pixels is needed, e.g. --view-size 96')
    steps = [s for source in _sources(cfg) for s in source.get('pipeline') or ()]
    views = [step for step in steps if type_name(step) == 'GeometricMultiView']
    if not views:
        raise UserError(
            '--view-size: the training pipeline has no GeometricMultiView. A detector takes '
            '--scale, a segmenter --crop.'
        )
    for view in views:
        crops = [step for pipeline in view.transforms for step in pipeline if 'scale' in step]
        for crop in crops:
            crop.scale = _resized(crop.scale, view.get('view_size'), size)
        view.view_size = size


def _resized(scale, old, new) -> int:
    """``scale`` * ``new`` / ``old``, all of them numbers of pixels."""
    if not all(isinstance(x, int) for x in (scale, old, new)):
        raise UserError(
            f'--view-size {new}: a crop has the scale {scale}, which was made for views of '
            f'{old}; set the scales in a config'
        )
    resized, rest = divmod(scale * new, old)
    if rest or not resized:
        raise UserError(
            f'--view-size {new}: a crop of {scale} pixels for views of {old} becomes '
            f'{scale * new / old:g}: take a multiple of {old // math.gcd(scale, old)}'
        )
    return resized


def set_batch_size(cfg: Config, batch_size: int) -> None:
    """Images per process and training step."""
    if batch_size < 2:
        raise UserError(
            '--batch-size must be 2 or more: batch normalisation is trained in these recipes.'
        )
    cfg.train_dataloader.batch_size = batch_size


def set_test_batch_size(cfg: Config, batch_size: int) -> None:
    """Images per process that are tested at a time."""
    if batch_size < 1:
        raise UserError(f'--batch-size must be 1 or more, got {batch_size}.')
    if cfg.get('test_dataloader'):
        cfg.test_dataloader.batch_size = batch_size


def set_workers(cfg: Config, workers: int) -> None:
    """Data-loading processes of each loader; 0 loads in the main process."""
    if workers < 0:
        raise UserError(f'--workers must be 0 or more, got {workers}.')
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            loader.num_workers = workers


def set_white_level(cfg: Config) -> None:
    """Hand ``white_level`` on to pre-training's data sets; fine-tuning reads it itself."""
    for node in dicts(cfg.get('train_dataloader')) if 'white_level' in cfg else ():
        if is_unlabeled(node):
            node.setdefault('white_level', cfg.white_level)


def set_amp(cfg: Config, dtype: str) -> None:
    """Mixed precision.

    Raises:
        UserError: float16, or a detector, without CUDA.
    """
    if dtype == 'float16' and not torch.cuda.is_available():
        raise UserError(
            '--amp float16 needs a CUDA device, and there is '
            'none: say --amp bfloat16, or leave --amp out to train in float32.'
        )
    if cfg.get('default_scope') == 'mmdet' and not torch.cuda.is_available():
        raise UserError(
            f'--amp {dtype}: on a CPU mmcv suppresses overlapping boxes in float32 only: leave '
            '--amp out.'
        )
    cfg.optim_wrapper.type = 'dense_ssl.AmpOptimWrapper'
    cfg.optim_wrapper.dtype = dtype
    # bfloat16 has float32's range: gradients need no scaling.
    scale = 'dynamic' if dtype == 'float16' else dict(enabled=False)
    cfg.optim_wrapper.setdefault('loss_scale', scale)


def set_accumulation(cfg: Config, steps: int) -> None:
    """An optimiser step every ``steps`` iterations; the base batch size follows.

    mmengine compares the images of an iteration with ``auto_scale_lr.base_batch_size``, while a
    step has more of them.
    """
    if steps < 1:
        raise UserError(f'--accumulate {steps}: give a whole number of iterations from 1 on.')
    before = cfg.optim_wrapper.get('accumulative_counts', 1)
    cfg.optim_wrapper.accumulative_counts = steps
    scale = cfg.get('auto_scale_lr') or {}
    if scale.get('base_batch_size'):
        scale['base_batch_size'] *= before / steps


def auto_scale_lr(cfg: Config) -> None:
    """Learning rate by actual over base batch size."""
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise UserError(
            f'--auto-scale-lr: {cfg.filename} does not set auto_scale_lr.base_batch_size.'
        )
    cfg.auto_scale_lr.enable = True


def set_speed(cfg: Config, channels_last: bool, compile: bool, checkpoint: bool, colors) -> None:
    """What :class:`~dense_ssl.engine.runner.DenseRunner` reads from ``speed``."""
    speed = dict(channels_last=channels_last, compile=compile, colors=colors)
    if checkpoint:
        speed['checkpoint'] = checkpointed_stages(cfg.model.backbone)
    speed = {**(cfg.get('speed') or {}), **{k: v for k, v in speed.items() if v}}
    if speed:
        cfg.speed = ConfigDict(speed)


def set_resume(cfg: Config, resume: str) -> None:
    """Go on from a checkpoint, or from the last one (``'auto'``), in place.

    Raises:
        MissingFile: ``resume`` names no file.
    """
    if resume != 'auto' and not osp.isfile(resume):
        raise MissingFile(f'--resume {resume}: no such file.')
    cfg.resume = True
    cfg.load_from = None if resume == 'auto' else resume


def add_tensorboard(cfg: Config) -> None:
    """Write TensorBoard event files too; UserError without the package."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            '--tensorboard needs the package tensorboard: `pip install tensorboard`.'
        ) from None
    visualizer = ConfigDict(cfg.get('visualizer') or dict(type='UniversalVisualizer'))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    if all(type_name(b) != 'TensorboardVisBackend' for b in backends):
        backends.append(dict(type='TensorboardVisBackend'))
    visualizer.vis_backends = backends
    cfg.visualizer = visualizer
