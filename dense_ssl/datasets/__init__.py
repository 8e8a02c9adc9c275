"""Folders of images and views that know their geometry."""

from dense_ssl.former import old_attributes

from .collate import collate_views
from .image_reading import UnreadableImage, read_rgb
from .transforms import *  # noqa: F401,F403
from .unlabeled import UnlabeledImages
from .worker_init import worker_init

__all__ = ['UnlabeledImages', 'UnreadableImage', 'collate_views', 'read_rgb', 'worker_init']
__getattr__ = old_attributes(
    __name__,
    ColourParams='ColorParams',
    RandomColour='RandomColor',
    UnlabelledImages='UnlabeledImages',
    apply_colour='apply_color',
)
