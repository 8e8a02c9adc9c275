"""Folders of images and views that know their geometry."""

from .collate import collate_views
from .image_reading import UnreadableImage, read_rgb
from .transforms import *  # noqa: F401,F403
from .unlabeled import UnlabelledImages
from .worker_init import worker_init

__all__ = ['UnlabelledImages', 'UnreadableImage', 'collate_views', 'read_rgb', 'worker_init']
