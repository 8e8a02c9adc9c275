"""Hooks of earlier versions, by their names in configs of that time.

What they did, the hooks that DenseRunner adds by itself do now. To be removed after 0.2.
"""

from mmengine.hooks import Hook

from dense_ssl.registry import HOOKS

from .fit_check_hook import FitCheckHook

FORMER = ('BatchNormCheckHook', 'DataCheckHook', 'PendingGradientsHook', 'ScheduleExtensionHook')


@HOOKS.register_module(name=list(FORMER))
class FormerHook(Hook):
    """Does nothing."""


@HOOKS.register_module(name='QueueLengthHook')
def queue_length_hook(if_longer: str = 'error') -> FitCheckHook:
    """FitCheckHook by its former argument."""
    return FitCheckHook(long_queue=if_longer)
