"""Losses as pure functions."""
from .info_nce import queue_info_nce

__all__ = ['queue_info_nce']
