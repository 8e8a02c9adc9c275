"""Pre-training algorithms, one file each."""

from .base import MomentumSelfSupervisor
from .densecl import DenseCL
from .mcl import MCL
from .pixpro import PixContrast, PixPro

__all__ = ['DenseCL', 'MCL', 'MomentumSelfSupervisor', 'PixContrast', 'PixPro']
