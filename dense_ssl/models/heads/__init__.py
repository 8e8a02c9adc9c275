"""Losses as heads."""

from .multi_level_contrast_head import MultiLevelContrastHead
from .pixel_consistency_head import PixelConsistencyHead
from .pixel_contrast_head import PixelContrastHead
from .queue_contrast_head import QueueContrastHead

__all__ = [
    'MultiLevelContrastHead',
    'PixelConsistencyHead',
    'PixelContrastHead',
    'QueueContrastHead',
]
