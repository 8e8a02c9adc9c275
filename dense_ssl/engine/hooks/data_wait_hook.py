"""How much of the time training waits for data."""

from mmengine.hooks import Hook, LoggerHook

from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Log ``data_wait``, the share of the time spent waiting for data.

    Of the iterations since the last line of the log.

    Near 0, the loader keeps up. Much above that, more workers, or colours on
    the device (``--color device``), make training faster. On a GPU whose
    work is queued ahead, waiting shows only once the queue has run dry.
    """

    def before_train(self, runner) -> None:
        """Find out how many iterations a line of the log stands for."""
        self.window = next(
            (hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10
        )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Divide what IterTimerHook, which ran before, has measured."""
        hub = runner.message_hub
        if {'train/data_time', 'train/time'} <= hub.log_scalars.keys():
            waited = hub.get_scalar('train/data_time').mean(self.window)
            whole = hub.get_scalar('train/time').mean(self.window)
            hub.update_scalar('train/data_wait', waited / max(whole, 1e-9))
