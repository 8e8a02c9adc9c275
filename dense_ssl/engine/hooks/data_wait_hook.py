"""How much of the time training waits for data."""
from mmengine.hooks import Hook

from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Log ``data_wait``, the share of an iteration spent waiting for data.

    Near 0, the loader keeps up. Much above that, more workers, or colours on
    the device (``--colour device``), make training faster. On a GPU whose
    work is queued ahead, waiting shows only once the queue has run dry.
    """

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None) -> None:
        """Divide what IterTimerHook, which ran before, has measured."""
        hub = runner.message_hub
        if {'train/data_time', 'train/time'} <= hub.log_scalars.keys():
            waited = hub.get_scalar('train/data_time').current()
            whole = hub.get_scalar('train/time').current()
            hub.update_scalar('train/data_wait', waited / max(whole, 1e-9))
