"""Hooks of pre-training."""

from dense_ssl.former import old_attributes

from .data_wait_hook import DataWaitHook
from .deferred_info_hook import DeferredInfoHook
from .diagnostics_hook import DiagnosticsHook
from .exact_resume_hook import ExactResumeHook
from .finite_check_hook import FiniteCheckHook
from .fit_check_hook import FitCheckHook
from .former_hooks import FormerHook
from .momentum_update_hook import MomentumUpdateHook
from .stop_signal_hook import StopSignalHook

__all__ = [
    'DataWaitHook',
    'DeferredInfoHook',
    'DiagnosticsHook',
    'ExactResumeHook',
    'FiniteCheckHook',
    'FitCheckHook',
    'FormerHook',
    'MomentumUpdateHook',
    'StopSignalHook',
]
__getattr__ = old_attributes(__name__, MomentumScheduleHook='MomentumUpdateHook')
