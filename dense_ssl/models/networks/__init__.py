"""Projectors and feature necks."""

from .dense_projector import DenseProjector
from .dense_tower import DenseTower
from .fpn import FPN
from .pixel_projector import PixelProjector
from .pixel_propagation import PixelPropagation
from .region_head import RegionHead

__all__ = [
    'DenseProjector',
    'DenseTower',
    'FPN',
    'PixelProjector',
    'PixelPropagation',
    'RegionHead',
]
