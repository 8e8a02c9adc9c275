"""Hooks and optimisers."""

import mmpretrain.engine  # noqa: F401  (fills the parent registry)

from dense_ssl.former import former_attribute

from .hooks import *  # noqa: F401,F403
from .optimizers import *  # noqa: F401,F403
from .runner import DenseRunner

__all__ = ['DenseRunner']


def __getattr__(name):
    return former_attribute(__name__, name)
