"""Hooks of pre-training."""

from .data_wait_hook import DataWaitHook
from .deferred_info_hook import DeferredInfoHook
from .exact_resume_hook import ExactResumeHook
from .fit_check_hook import FitCheckHook
from .former_hooks import FormerHook
from .momentum_schedule_hook import MomentumScheduleHook

__all__ = [
    'DataWaitHook',
    'DeferredInfoHook',
    'ExactResumeHook',
    'FitCheckHook',
    'FormerHook',
    'MomentumScheduleHook',
]
