"""Data that cannot train, and files that were skipped."""

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from dense_ssl.errors import UserError
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class DataCheckHook(Hook):
    """End a run whose data set gives no batch; count unreadable files.

    A loader that drops incomplete batches would otherwise train on nothing,
    without a word.
    """

    def before_run(self, runner) -> None:
        """Compare the data set with the batch."""
        self.loader = getattr(runner.train_loop, 'dataloader', None)
        if self.loader is None or len(self.loader):
            return
        images, batch = len(self.loader.dataset), self.loader.batch_size
        raise UserError(
            f'{images} images make no batch of {batch} on {get_world_size()} '
            'processes: set train_dataloader.batch_size to '
            f'{max(1, images // get_world_size())} or less'
        )

    def after_train_epoch(self, runner) -> None:
        """Say how many files could not be read so far, on this process."""
        dataset = getattr(self.loader, 'dataset', None)
        count = getattr(dataset, 'unreadable_count', 0)
        if count:
            runner.logger.warning(
                f'{count} of {len(dataset)} files could not be '
                'read and were replaced by others (each is named above)'
            )
