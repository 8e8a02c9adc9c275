"""Hooks and optimisers."""

import mmpretrain.engine  # noqa: F401  (fills the parent registry)

from dense_ssl.former import old_attributes

from .hooks import *  # noqa: F401,F403
from .optimizers import *  # noqa: F401,F403
from .runner import DenseRunner

__all__ = ['DenseRunner']

__getattr__ = old_attributes(__name__, FastRunner='DenseRunner')
