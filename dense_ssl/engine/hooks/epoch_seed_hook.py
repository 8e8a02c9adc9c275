"""Random numbers that do not depend on what ran before the epoch."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from dense_ssl.errors import UserError
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
        """Refuse workers that outlive the epoch; seed the sampler."""
        if runner.train_dataloader.persistent_workers:
            raise UserError(
                'train_dataloader.persistent_workers=True makes a resumed run '
                'differ from an uninterrupted one: set it to False, or take '
                'EpochSeedHook out of custom_hooks'
            )
        # A sampler that drew its own seed draws another one after a resume;
        # the run's seed is in the checkpoint, without the rank added to it.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            diff = runner._randomness_cfg.get('diff_rank_seed', False)
            sampler.seed = runner.seed - (get_rank() if diff else 0)
        amid = runner.iter - runner.epoch * len(runner.train_dataloader)
        if amid:
            runner.logger.warning(
                f'the checkpoint was saved {amid} iterations into epoch '
                f'{runner.epoch + 1}, which is trained again from its start: '
                'the run gets that much longer than its schedules. '
                'Checkpoints of whole epochs (default_hooks.checkpoint.'
                'by_epoch=True) resume exactly'
            )

    def before_train_epoch(self, runner) -> None:
        """Seed python, numpy and torch."""
        state = np.random.SeedSequence([runner.seed, runner.epoch, get_rank()]).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(state[1])
        torch.manual_seed(int(state[2]))
