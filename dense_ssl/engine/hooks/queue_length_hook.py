"""Queues that fit the data set."""

from mmengine.dist import broadcast
from mmengine.hooks import Hook

from dense_ssl.errors import UserError
from dense_ssl.models import FeatureQueue
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class QueueLengthHook(Hook):
    """Check queues against the number of images, before the first step.

    A queue longer than the data set holds every image as its own negative,
    several times over.

    Args:
        if_longer (str): 'error' (default) ends the run, naming a length that
            fits; 'fit' shortens the queues to the largest power of two within
            the data set and says so in the log; 'warn' goes on.
    """

    def __init__(self, if_longer: str = 'error') -> None:
        if if_longer not in ('error', 'fit', 'warn'):
            raise UserError(f"if_longer='{if_longer}': use error, fit or warn")
        self.if_longer = if_longer

    def before_run(self, runner) -> None:
        """Compare lengths; the queues are resized before weights load."""
        if not hasattr(runner.train_loop, 'dataloader'):
            return
        images = len(runner.train_loop.dataloader.dataset)
        queues = [
            m for m in runner.model.modules() if isinstance(m, FeatureQueue) and len(m) > images
        ]
        if not queues:
            return
        fitting = 1 << (images.bit_length() - 1)
        text = f'the queue of {len(queues[0])} keys is longer than the data set of {images} images'
        if self.if_longer == 'error':
            raise UserError(f'{text}: set model.queue_len={fitting} or less')
        if self.if_longer == 'warn':
            runner.logger.warning(f'{text}; model.queue_len={fitting} fits')
            return
        for queue in queues:
            queue.resize(fitting)
            for buffer in queue.buffers():  # drawn at random by each process
                broadcast(buffer.data)
        runner.logger.warning(f'{text}; shortened to {fitting}')
