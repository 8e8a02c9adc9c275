"""Whether data, batch and queues fit together, before the first step."""

from typing import Any

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from dense_ssl.errors import UserError
from dense_ssl.models import FeatureQueue
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class FitCheckHook(Hook):
    """End a run that would train on nothing, or on something else than meant.

    A loader that drops incomplete batches may give no batch at all; batch norm
    needs more than one image at a time; a queue longer than the data set holds
    every image as its own negative, several times over. After each epoch the
    files that could not be read are counted in the log.

    Args:
        long_queue (str): What to do with a queue longer than the data set:
            'fit' (default) shortens it to the largest power of two within the
            data set and says so in the log; 'error' ends the run, naming a
            length that fits; 'warn' goes on.
    """

    priority = 'VERY_HIGH'  # queues are resized before a hook copies the model

    def __init__(self, long_queue: str = 'fit') -> None:
        if long_queue not in ('error', 'fit', 'warn'):
            raise UserError(f"long_queue='{long_queue}': use error, fit or warn")
        self.long_queue = long_queue

    def before_run(self, runner) -> None:
        """Compare; queues are resized before weights are loaded."""
        self.loader: Any = getattr(runner.train_loop, 'dataloader', None)
        if self.loader is None:
            return
        self._check_batch(len(self.loader.dataset))
        if getattr(self.loader, 'batch_size', None) == 1:
            self._check_norms(runner.model)
        parts = _parts(self.loader.dataset)
        _check_levels(parts)
        self._check_queues(runner, min(len(self.loader.dataset), sum(map(len, parts))))

    def _check_batch(self, images: int) -> None:
        if len(self.loader):
            return
        raise UserError(
            f'{images} images make no batch of {self.loader.batch_size} on {get_world_size()} '
            'processes: set train_dataloader.batch_size (--batch-size) to '
            f'{max(1, images // get_world_size())} or less'
        )

    @staticmethod
    def _check_norms(model: nn.Module) -> None:
        for name, module in model.named_modules():
            shared = isinstance(module, SyncBatchNorm) and get_world_size() > 1
            if isinstance(module, _BatchNorm) and not shared:
                raise UserError(
                    'train_dataloader.batch_size=1 leaves batch norm '
                    f'({name}) without a batch: use at least 2 images per '
                    "process, or sync_bn='torch' on several GPUs"
                )

    def _check_queues(self, runner, images: int) -> None:
        queues = [
            m for m in runner.model.modules() if isinstance(m, FeatureQueue) and len(m) > images
        ]
        if not queues:
            return
        fitting = 1 << (images.bit_length() - 1)
        text = f'the queue of {len(queues[0])} keys is longer than the data set of {images} images'
        if self.long_queue == 'error':
            raise UserError(f'{text}: set model.queue_len={fitting} or less')
        if self.long_queue == 'warn':
            runner.logger.warning(f'{text}; model.queue_len={fitting} fits')
            return
        for queue in queues:
            queue.resize(fitting)
            for buffer in queue.buffers():  # drawn at random by each process
                broadcast(buffer.data)
        runner.logger.warning(f'{text}; shortened to {fitting}')

    def after_train_epoch(self, runner) -> None:
        """Say how many files could not be read so far, on this process."""
        dataset: Any = getattr(self.loader, 'dataset', None)
        count = sum(getattr(part, 'unreadable_count', 0) for part in _parts(dataset))
        if count:
            runner.logger.warning(
                f'{count} of {len(dataset)} files could not be '
                'read and were replaced by others (each is named above)'
            )


def _parts(dataset: Any) -> list:
    """The data sets inside of one that repeats or joins others, each once."""
    inner = [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())]
    found = [part for each in inner if each is not None for part in _parts(each)]
    return list({id(part): part for part in found or [dataset]}.values())


def _check_levels(parts: list) -> None:
    """Raise UserError where data sets that are joined make other values black and white."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for step in getattr(getattr(part, 'pipeline', None), 'transforms', ()):
            for kind, levels in (getattr(step, 'levels', None) or {}).items():
                found.setdefault(kind, {})[str(levels)] = levels
    for kind, different in found.items():
        if len(different) > 1:
            raise UserError(
                f'the data sets that are joined scale their pixels ({kind}) between other values '
                f'each, {" and ".join(different)}: set one white_level (--cfg-options '
                '+white_level=...), or give all folders to one UnlabeledImages (--data a b)'
            )
