"""Hooks and optimisers."""

import mmpretrain.engine  # noqa: F401  (fills the parent registry)

from .fast_runner import FastRunner
from .hooks import *  # noqa: F401,F403
from .optimizers import *  # noqa: F401,F403

__all__ = ['FastRunner']
