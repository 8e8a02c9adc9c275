"""Hooks and optimisers."""

import mmpretrain.engine  # noqa: F401  (fills the parent registry)

from dense_ssl.former import old_attributes

from .hooks import *  # noqa: F401,F403
from .optimizers import *  # noqa: F401,F403
from .runner import DenseRunner
from .step_loop import StepTrainLoop

__all__ = ['DenseRunner', 'StepTrainLoop']

__getattr__ = old_attributes(__name__, FastRunner='DenseRunner')
