"""Losses as heads."""
from .multi_level_contrast_head import MultiLevelContrastHead
from .queue_contrast_head import QueueContrastHead

__all__ = ['MultiLevelContrastHead', 'QueueContrastHead']
