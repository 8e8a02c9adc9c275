"""Numbers in the log that tell what the network learns, and warnings where it does not."""

from math import isfinite
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from dense_ssl.errors import UserError
from dense_ssl.models import FeatureQueue, MomentumEncoder, MomentumSelfSupervisor
from dense_ssl.models.diagnostics import Watch, effective_rank, spread
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

_IMAGES = 16  # looked at on the host


@HOOKS.register_module()
class DiagnosticsHook(Hook):
    """Look at a step now and then: has it collapsed, does it find its positives, is data lacking?

    Logged are, where a method has them: spread, rank and share of variance between images of the
    backbone's last map (``feature_``), of projected cells (``cell_``) and of image embeddings
    (``image_``); cosine of ``_positive`` and ``_negative`` pairs, and how often the positive is
    the nearest (``_top1``); ``queue_fill``, ``queue_age``, ``queue_share`` of the images and
    ``gradient_norm``. docs/diagnostics.md says what to expect. A warning names each cause once.

    The training is the same with it and without: nothing runs through a network twice, and no
    random number is drawn. The device is waited for at the steps looked at only. The numbers are
    those of the first process.

    Args:
        interval (int): Look at the first step and every so many. Defaults to 50.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise UserError(f'interval={interval} must be positive')
        self.interval = interval

    def before_train(self, runner) -> None:
        """Find out whom to ask."""
        self.model: Any = bare(runner.model)
        self.encoders = [m for m in self.model.modules() if isinstance(m, MomentumEncoder)]
        self.queues = [m for m in self.model.modules() if isinstance(m, FeatureQueue)]
        self.images = len(runner.train_dataloader.dataset)
        self.watch = Watch()
        self.first, self.looking = runner.iter, False
        self.norm: list[torch.Tensor] = []
        wrapper = runner.optim_wrapper
        self.accumulated = getattr(wrapper, '_accumulative_counts', 1)
        self.clips = bool(getattr(wrapper, 'clip_grad_kwargs', None))
        if isinstance(wrapper, OptimWrapper) and not self.clips:
            wrapper.optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer, args, kwargs) -> None:
        """Gradients of a step that is taken, without the scale of float16."""
        if self.looking:
            groups = optimizer.param_groups
            grads = [p.grad for g in groups for p in g['params'] if p.grad is not None]
            if grads:
                self.norm = [torch.stack(torch._foreach_norm(grads)).norm()]

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Ask the model to leave something there."""
        self.looking = is_main_process() and (
            runner.iter == self.first or self.every_n_train_iters(runner, self.interval)
        )
        if self.looking and isinstance(self.model, MomentumSelfSupervisor):
            self.model.observed = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Read it, log it, and say what is wrong."""
        if not self.looking:
            return
        hub = runner.message_hub
        numbers = self._measure(outputs or {})
        if self.clips and 'train/grad_norm' in hub.log_scalars:  # by mmengine, before it clips
            numbers['gradient_norm'] = _latest(hub, 'grad_norm')
        for name, value in numbers.items():
            if name not in (outputs or {}) and isfinite(value):
                hub.update_scalar(f'train/{name}', value)
        # where, among all iterations, these values of the history lie
        seen = hub.get_info('diagnosed', [])
        hub.update_info('diagnosed', [*seen, runner.iter + 1])
        if runner.iter > self.first:
            numbers['data_wait'] = _latest(hub, 'data_wait')
        numbers['momentum'] = min((e.current_momentum() for e in self.encoders), default=1.0)
        numbers['same_views'] = _same_views(data_batch)
        for text in self.watch.look(numbers):
            runner.logger.warning(f'iteration {runner.iter + 1}: {text} (see docs/diagnostics.md)')

    def _measure(self, outputs: dict) -> dict[str, float]:
        """All numbers of a step, the outputs' among them; one transfer for most."""
        observed, self.model.observed = getattr(self.model, 'observed', None) or {}, None
        values = {k: v for k, v in outputs.items() if torch.is_tensor(v) and v.numel() == 1}
        grams = {}
        for name, what in observed.items():
            if isinstance(what, dict):
                values.update({name.replace('ranking', k): v for k, v in what.items()})
                continue
            found = spread(what)
            grams[f'{name}_rank'], values[f'{name}_std'] = found.gram, found.std
            if what.ndim > 2:
                values[f'{name}_between'] = found.between
        if self.norm:
            values['gradient_norm'] = self.norm.pop()
        read = [v.detach().double().reshape(()) for v in values.values()]
        numbers = dict(zip(values, torch.stack(read).tolist() if read else ()))
        numbers.update({name: effective_rank(gram) for name, gram in grams.items()})
        if self.queues:
            numbers['queue_fill'] = min(q.filled / len(q) for q in self.queues)
            numbers['queue_age'] = max(q.age for q in self.queues) / self.accumulated
            numbers['queue_share'] = max(q.filled for q in self.queues) / self.images
        return numbers


def _same_views(data_batch) -> float:
    """Share of images whose views are pixel by pixel the same; colours of the device count not.

    What is compared are the first views of both halves: of MCL's eight these two are one level's.
    """
    views = data_batch.get('inputs') if isinstance(data_batch, dict) else None
    if not isinstance(views, (list, tuple)) or len(views) < 2:
        return 0.0
    a, b = (view[:_IMAGES] for view in (views[0], views[len(views) // 2]))
    return float((a == b).flatten(1).all(1).float().mean()) if a.shape == b.shape else 0.0


def _latest(hub, name: str) -> float:
    history = hub.log_scalars.get(f'train/{name}')
    return 0.0 if history is None else float(history.current())
