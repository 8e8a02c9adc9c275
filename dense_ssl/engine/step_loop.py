"""Training whose length is a number of steps, in epochs that resume exactly."""

from math import ceil
from typing import Union

import torch
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from dense_ssl.registry import LOOPS

__all__ = ['StepTrainLoop']


@LOOPS.register_module()
class StepTrainLoop(EpochBasedTrainLoop):
    """Epochs until ``max_iters`` iterations are done; the last may be a part.

    What a network learns in an epoch depends on how many images there happen to be, and
    mmengine's ``IterBasedTrainLoop`` resumes with other random numbers than it would have had.

    Args:
        runner: The runner.
        dataloader: A loader or its config.
        max_iters: Iterations in all.
        **kwargs: Of ``EpochBasedTrainLoop``; validation counts epochs.
    """

    def __init__(
        self, runner, dataloader: Union[DataLoader, dict], max_iters: int, **kwargs
    ) -> None:
        super().__init__(runner, dataloader, max_epochs=1, **kwargs)
        self._max_iters = max_iters
        self._max_epochs = ceil(max_iters / len(self.dataloader))

    def run(self) -> torch.nn.Module:
        """Launch training; a run that has all its iterations already ends at once."""
        if self._iter >= self._max_iters:  # its last checkpoint lies within an epoch
            self._epoch = self._max_epochs
        return super().run()

    def run_epoch(self) -> None:
        """Iterate one epoch, or what is left to do."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
            if self._iter == self._max_iters:
                break
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
