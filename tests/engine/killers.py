"""Hooks that end their own process, for good, at a chosen moment of a save."""

import os
import signal

from mmengine.hooks import Hook

from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class KillWhile(Hook):
    """kill -9 at a call of a function of ``os``, in the save after an epoch."""

    priority = 'VERY_HIGH'

    def __init__(self, doing: str, epoch: int) -> None:
        self.doing, self.epoch = doing, epoch

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        if runner.epoch + 1 == self.epoch:
            setattr(os, self.doing, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))


@HOOKS.register_module()
class SignalAt(Hook):
    """A signal to the own process after an iteration."""

    def __init__(self, name: str, iteration: int, rank: int = 0) -> None:
        self.name, self.iteration, self.rank = name, iteration, rank

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter == self.iteration and runner.rank == self.rank:
            os.kill(os.getpid(), getattr(signal, self.name))
