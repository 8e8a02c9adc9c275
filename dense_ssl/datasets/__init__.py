"""Folders of images and views that know their geometry."""
from .image_reading import UnreadableImage, read_rgb
from .transforms import *  # noqa: F401,F403
from .unlabelled import UnlabelledImages
from .worker_init import worker_init

__all__ = ['UnlabelledImages', 'UnreadableImage', 'read_rgb', 'worker_init']
