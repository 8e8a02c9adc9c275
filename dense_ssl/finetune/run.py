"""Fine-tuning and testing a downstream model with mmengine's Runner."""

import json
import os
import os.path as osp
from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.logging import print_log

from dense_ssl.config_tree import type_name
from dense_ssl.engine.runner import DenseRunner
from dense_ssl.engine.work_folder import newest_readable
from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically
from dense_ssl.transfer import HOOK_TYPE
from dense_ssl.transfer.checkpoint import read_file
from dense_ssl.transfer.importers import read_any

from .bands import take_normalization
from .check import check_transfer
from .data.paths import check_data_exist
from .reading import read_alike
from .recipe_audit import inspect_batch

#: Instead of a checkpoint: nothing is loaded, weights stay as initialised.
RANDOM = 'random'


def fine_tune(
    cfg: Config,
    checkpoint: str,
    parts: Union[str, Sequence[str]] = 'auto',
    network: str = 'online',
    backbone_prefix: Optional[str] = None,
    strict_recipe: bool = False,
) -> dict[str, float]:
    """Train ``cfg`` from a pre-training checkpoint, and evaluate.

    The checkpoint is checked against the model before a data set is opened.

    Args:
        cfg: A complete mmdet or mmseg config with ``work_dir``.
        checkpoint: The pre-training checkpoint, or ``'random'``.
        parts: See :func:`dense_ssl.transfer.plan_parts`; the same for the
            next two.
        strict_recipe: Refuse a recipe that costs accuracy (or, of random
            weights, that loads others), rather than only saying so in the
            log.

    Returns:
        The last validation's figures, also written to
        ``<work_dir>/metrics.json``; empty when none took place.

    Raises:
        TransferError: The checkpoint does not fit, or data are not there.
    """
    options = dict(parts=parts, network=network, backbone_prefix=backbone_prefix)
    if cfg.get('channels', 3) != 3 and checkpoint != RANDOM:
        take_normalization(cfg, read_any(checkpoint).meta)
    if cfg.get('load_from') and not cfg.get('resume'):
        raise TransferError(
            f'both a start ({checkpoint}) and load_from ({cfg.load_from}) were given: choose one.'
        )
    if not _resumes(cfg):
        _check(cfg, checkpoint, strict_recipe, **options)
    if checkpoint != RANDOM:
        hook = dict(type=HOOK_TYPE, checkpoint=osp.abspath(checkpoint), **options)
        cfg.custom_hooks = list(cfg.get('custom_hooks') or []) + [hook]
    check_data_exist(cfg)
    read_alike(cfg, 'train', 'val')
    runner = DenseRunner.from_cfg(cfg)
    runner.train()
    if (
        'val/time' not in runner.message_hub.log_scalars
        and runner.val_loop is not None
        and _resumes(cfg)
    ):
        runner.val()  # cut off after its last step, before its figures
    metrics = {
        name[len('val/') :]: float(scalar.current())
        for name, scalar in runner.message_hub.log_scalars.items()
        if name.startswith('val/') and not name.endswith('time')
    }
    if not metrics and 'val/time' in runner.message_hub.log_scalars:
        metrics = _nothing_found(cfg)
    _write_metrics(cfg, metrics, checkpoint)
    return metrics


def _check(cfg: Config, checkpoint: str, strict: bool, **options) -> None:
    several = cfg.launcher != 'none' and torch.cuda.is_available()
    given = None if checkpoint == RANDOM else read_any(checkpoint)
    _, findings = check_transfer(cfg, given, distributed=several, **options)
    processes = os.environ.get('SLURM_NTASKS' if cfg.launcher == 'slurm' else 'WORLD_SIZE', 1)
    findings += inspect_batch(cfg, int(processes))
    for finding in findings:
        print_log(str(finding), 'current')
    problems = [finding.text for finding in findings if finding.costs]
    if strict and problems:
        raise TransferError(
            f'{cfg.filename} would cost accuracy:\n  '
            + '\n  '.join(problems)
            + '\nCorrect it, or accept that by --accept-recipe.'
        )


def test(cfg: Config, checkpoint: str, predictions: Optional[str] = None) -> dict[str, float]:
    """Evaluate a fine-tuned model; its checkpoint must fit completely.

    Args:
        cfg: A complete config with a test loop and ``work_dir``.
        checkpoint: A file that training wrote.
        predictions: A pickle file to write them to.

    Raises:
        TransferError: A key is missing, unexpected or of a wrong shape; or images cannot be read.
    """
    if osp.isfile(checkpoint):
        read_file(checkpoint)  # before large annotations are read
    cfg.load_from, cfg.resume = checkpoint, False
    if cfg.get('channels', 3) != 3:
        take_normalization(cfg, read_any(checkpoint).meta)
    read_alike(cfg, 'test')
    runner = DenseRunner.from_cfg(cfg)
    if predictions:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=predictions))
    return runner.test()


def print_metrics(metrics: dict[str, float], work_dir: str) -> None:
    """The figures as aligned lines, on the main process."""
    if not is_main_process():
        return
    if not metrics:
        print(f'No validation took place; see the log in {work_dir}.')
        return
    width = max(map(len, metrics))
    for name, value in metrics.items():
        print(f'{name.ljust(width)}  {value:.4f}')
    print(f'Logs, checkpoints and metrics.json: {work_dir}')


def _nothing_found(cfg: Config) -> dict[str, float]:
    """COCO's figures where a detector finds nothing: mmdet gives none."""
    kinds = [
        kind
        for evaluator in (
            cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
        )
        if type_name(evaluator).endswith('CocoMetric')
        for kind in ([evaluator.metric] if isinstance(evaluator.metric, str) else evaluator.metric)
    ]
    if kinds:
        print_log('The detector found nothing at all: AP is 0.', 'current')
    return {f'coco/{kind}_mAP': 0.0 for kind in kinds}


def _resumes(cfg: Config) -> bool:
    """Whether the run goes on from a checkpoint of its own."""
    if not cfg.get('resume'):
        return False
    path = cfg.get('load_from')
    if path and '://' not in path and not osp.isfile(path):
        raise TransferError(f'--resume {path}: no such file.')
    return bool(path or (osp.isdir(cfg.work_dir) and newest_readable(cfg.work_dir)))


def _write_metrics(cfg: Config, metrics: dict[str, float], checkpoint: str) -> None:
    if not metrics or not is_main_process():
        return
    path = osp.join(cfg.work_dir, 'metrics.json')
    content = dict(
        config=cfg.filename,
        checkpoint=checkpoint,
        seed=cfg.get('randomness', {}).get('seed'),
        metrics=metrics,
    )
    write_atomically(path, json.dumps(content, indent=2))
    print_log(f'Final figures written to {path}', 'current')
