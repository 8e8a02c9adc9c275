"""The dense probe while a run trains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from dense_ssl.errors import UserError
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

from .dense_probe import dense_probe
from .labeled_images import labeled_splits
from .probe_backbone import probe_backbone

__all__ = ['DenseProbeHook']

BEST = 'best_probe_mIoU'


@HOOKS.register_module()
class DenseProbeHook(Hook):
    """Score the online backbone on label maps every so many iterations, and at the end.

    Training goes on as without it: a copy is probed, and no random number is taken.

    Args:
        train, val: Paths of images and label maps.
        num_classes: Classes count from 0.
        interval: Iterations between two probes; by default a tenth of the training.
        scale: Pixels that images are fitted into.
        keep_best: Keep the weights of the best score so far, in ``best_probe_mIoU.pth``.
    """

    priority = 'BELOW_NORMAL'  # before CheckpointHook: its files know the best score

    def __init__(
        self,
        train: Sequence[tuple[str, str]],
        val: Sequence[tuple[str, str]],
        num_classes: int,
        interval: Optional[int] = None,
        scale: tuple[int, int] = (512, 384),
        keep_best: bool = False,
    ) -> None:
        if interval is not None and interval < 1:
            raise UserError(f'interval={interval}: give a whole number of iterations from 1 on')
        self.pairs = [[(Path(a), Path(b)) for a, b in pairs] for pairs in (train, val)]
        self.num_classes, self.interval, self.scale = num_classes, interval, scale
        self.keep_best = keep_best

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Probe, log, and keep the weights if they are the best so far."""
        last = runner.iter + 1 == runner.max_iters
        interval = self.interval or -(-runner.max_iters // 10)
        if not (last or self.every_n_train_iters(runner, interval)) or not is_main_process():
            return
        score = self._probe(runner)
        known = runner.message_hub.runtime_info  # goes into checkpoints, and comes back
        if self.keep_best and score > known.get(BEST, -1.0):
            runner.message_hub.update_info(BEST, score)
            runner.save_checkpoint(
                runner.work_dir,
                f'{BEST}.pth',
                meta=dict(epoch=runner.epoch, iter=runner.iter + 1),
                save_optimizer=False,
                save_param_scheduler=False,
                by_epoch=False,
            )

    def _probe(self, runner) -> float:
        model: Any = bare(runner.model)
        backbone = probe_backbone(runner.cfg.model.backbone)
        backbone.load_state_dict(model.backbone.state_dict())
        device = next(model.parameters()).device
        train, val = labeled_splits(
            runner.cfg, self.pairs, self.scale, model.data_preprocessor, device
        )
        with torch.enable_grad():
            result = dense_probe(backbone.to(device), train, val, self.num_classes)
        metrics = dict(probe_mIoU=result.probe_mIoU, knn_mIoU=result.knn_mIoU)
        for name, value in metrics.items():
            runner.message_hub.update_scalar(f'val/{name}', value)
        words = ', '.join(f'{name} {value:.2f}' for name, value in metrics.items())
        runner.logger.info(f'Probe after {runner.iter + 1} iterations: {words}')
        runner.visualizer.add_scalars(metrics, step=runner.iter + 1)
        return result.probe_mIoU
