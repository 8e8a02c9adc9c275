"""Hooks of pre-training."""

from dense_ssl.renames import old_attributes

from .batch_norm_check_hook import BatchNormCheckHook
from .data_check_hook import DataCheckHook
from .data_wait_hook import DataWaitHook
from .deferred_info_hook import DeferredInfoHook
from .epoch_seed_hook import EpochSeedHook
from .momentum_update_hook import MomentumUpdateHook
from .pending_gradients_hook import PendingGradientsHook
from .queue_length_hook import QueueLengthHook
from .schedule_extension_hook import ScheduleExtensionHook

__all__ = [
    'BatchNormCheckHook',
    'DataCheckHook',
    'DataWaitHook',
    'DeferredInfoHook',
    'EpochSeedHook',
    'MomentumUpdateHook',
    'PendingGradientsHook',
    'QueueLengthHook',
    'ScheduleExtensionHook',
]
__getattr__ = old_attributes(__name__, MomentumScheduleHook='MomentumUpdateHook')
