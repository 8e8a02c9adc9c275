"""Projectors and feature necks."""
from .dense_projector import DenseProjector
from .fpn import FPN
from .region_head import RegionHead

__all__ = ['DenseProjector', 'FPN', 'RegionHead']
