"""Losses as pure functions."""

from .info_nce import queue_info_nce
from .pixel import pixel_contrast, positive_cosine, unit_cells

__all__ = ['pixel_contrast', 'positive_cosine', 'queue_info_nce', 'unit_cells']
