"""Gradients that wait for an optimiser step when an epoch ends."""

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class PendingGradientsHook(Hook):
    """Save and resume what has been accumulated so far.

    With gradient accumulation an epoch may end between two optimiser steps.
    mmengine's checkpoints lose these gradients; with this hook a resumed run
    makes the same next step as an uninterrupted one.
    """

    priority = 'HIGH'  # before CheckpointHook saves
    key = 'pending_gradients'

    def before_run(self, runner) -> None:
        """Start without any."""
        self.pending, self.loaded = {}, {}

    def after_train_epoch(self, runner) -> None:
        """Collect them, averaged over the processes as a step would."""
        every = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.pending = {}
        if runner.iter % every == 0 or runner.iter == runner.max_iters:
            return
        for name, p in _bare(runner.model).named_parameters():
            if p.grad is not None:
                self.pending[name] = p.grad.detach().clone()
                all_reduce(self.pending[name], 'mean')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put them into the checkpoint."""
        if self.pending:
            checkpoint[self.key] = {k: v.cpu() for k, v in self.pending.items()}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep those of the checkpoint."""
        self.loaded = checkpoint.get(self.key) or {}

    def before_train(self, runner) -> None:
        """Give them to the parameters, if the run is resumed."""
        parameters = dict(_bare(runner.model).named_parameters())
        if runner.iter:
            for name, gradient in self.loaded.items():
                p = parameters[name]
                p.grad = gradient.to(p.device, p.dtype)
            if self.loaded:
                runner.logger.info('the gradients accumulated so far are resumed too')
        self.loaded = {}

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        """Forget the collected ones: they change from here on."""
        self.pending = {}


def _bare(model):
    return model.module if is_model_wrapper(model) else model
