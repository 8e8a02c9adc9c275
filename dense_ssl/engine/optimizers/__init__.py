"""Optimisers."""

from .amp import amp_optim_wrapper
from .lars import LARS

__all__ = ['LARS', 'amp_optim_wrapper']
