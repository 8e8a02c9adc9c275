from .color import ColorParams, RandomColor, apply_color
from .geometry import RandomFlipWithBox, RandomResizedCropWithBox
from .loading import LoadRGBImage
from .multi_view import GeometricMultiView
from .view_box import crop_to_box, flip_box

__all__ = [
    'ColorParams',
    'GeometricMultiView',
    'LoadRGBImage',
    'RandomColor',
    'RandomFlipWithBox',
    'RandomResizedCropWithBox',
    'apply_color',
    'crop_to_box',
    'flip_box',
]
