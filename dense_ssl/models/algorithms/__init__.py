"""Pre-training algorithms, one file each."""
from .base import MomentumSelfSupervisor
from .densecl import DenseCL

__all__ = ['DenseCL', 'MomentumSelfSupervisor']
