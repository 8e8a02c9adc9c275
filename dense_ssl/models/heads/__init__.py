"""Losses as heads."""
from .queue_contrast_head import QueueContrastHead

__all__ = ['QueueContrastHead']
