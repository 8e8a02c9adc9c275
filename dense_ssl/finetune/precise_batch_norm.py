"""Norm statistics of the weights as they are when they are evaluated."""

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dense_ssl.errors import UserError
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class PreciseBatchNormHook(Hook):
    """Average norm statistics over some iterations before each validation.

    As detectron2 does (``PreciseBN``, arXiv 2105.07576 sec. 3), with training
    batches and the training forward. mmpretrain's ``PreciseBNHook`` calls a
    forward that no detector has, and counts batches of a loader that with
    iteration-based training has no end.

    Args:
        iterations: Batches to average over; 0 leaves them as training did.
    """

    # Before the checkpoint is saved, so that it has the same statistics.
    priority = 'ABOVE_NORMAL'

    def __init__(self, iterations: int = 200) -> None:
        if iterations < 0:
            raise UserError(f'iterations={iterations} must not be negative; 0 averages nothing.')
        self.iterations = iterations

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        loop = runner.train_loop
        last = runner.iter + 1 == loop.max_iters
        if (
            not self.iterations
            or runner.val_loop is None
            or not (last or self.every_n_train_iters(runner, loop.val_interval))
        ):
            return
        # A run shorter than the average is one for trying things out.
        count = min(self.iterations, loop.max_iters)
        runner.logger.info(f'Norm statistics are averaged over {count} batches.')
        average_statistics(runner.model, (next(loop.dataloader_iterator) for _ in range(count)))


@torch.no_grad()
def average_statistics(model: Any, batches) -> None:
    """Replace running statistics by their mean over ``batches``.

    Args:
        model: A mmengine model in training mode, or its wrapper. Norms that
            are in evaluation mode stay as they are.
        batches: Batches as the data loader gives them.
    """
    model = bare(model)
    norms = _active_norms(model)
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch: the cumulative mean
        for batch in batches:
            data = model.data_preprocessor(batch, True)
            if isinstance(data, dict):
                model(**data, mode='loss')
            else:
                model(*data, mode='loss')
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


def _active_norms(model: nn.Module) -> list[_BatchNorm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
