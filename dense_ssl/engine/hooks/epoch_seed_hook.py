"""Random numbers that do not depend on what ran before the epoch."""
import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed the process from (seed, epoch, rank) before every epoch.

    The data loader draws its workers' seeds from the process's generator, so
    epochs differ, ranks differ, and a run resumed at an epoch sees the very
    numbers of an uninterrupted one. Needs ``persistent_workers=False``:
    workers that live on keep a state that no checkpoint holds.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Refuse a loader whose workers outlive the epoch."""
        if runner.train_dataloader.persistent_workers:
            raise ValueError(
                'train_dataloader.persistent_workers=True makes a resumed run '
                'differ from an uninterrupted one: set it to False, or take '
                'EpochSeedHook out of custom_hooks')

    def before_train_epoch(self, runner) -> None:
        """Seed python, numpy and torch."""
        state = np.random.SeedSequence(
            [runner.seed, runner.epoch, get_rank()]).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(state[1])
        torch.manual_seed(int(state[2]))
