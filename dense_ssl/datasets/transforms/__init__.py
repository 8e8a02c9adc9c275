from .color import ColourParams, RandomColour, apply_colour
from .geometry import RandomFlipWithBox, RandomResizedCropWithBox
from .loading import LoadRGBImage
from .multi_view import GeometricMultiView
from .view_box import crop_to_box, flip_box

__all__ = [
    'ColourParams',
    'GeometricMultiView',
    'LoadRGBImage',
    'RandomColour',
    'RandomFlipWithBox',
    'RandomResizedCropWithBox',
    'apply_colour',
    'crop_to_box',
    'flip_box',
]
