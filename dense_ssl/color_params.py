"""What is done to the colors of a view, on its way from the workers to the device."""

import numpy as np

from .errors import UserError

__all__ = ['COLOR_PARAMS', 'JITTER', 'check_bands_have']

#: Operations of the jitter; their places are their numbers.
JITTER = ('brightness', 'contrast', 'saturation', 'hue')

#: Of one view. Arrays of it are collated and read as they are.
COLOR_PARAMS = np.dtype(
    [
        ('operation', np.int8, len(JITTER)),  # of the jitter's steps, in turn; -1: none
        ('factor', np.float32, len(JITTER)),  # of each step
        ('grayscale', np.bool_),
        ('blur_sigma', np.float32),  # pixels; 0: no blur
        ('solarize_threshold', np.float32),  # infinite: inverts nothing
    ]
)


def check_bands_have(grayscale: bool, *jitter: str) -> None:
    """Raise UserError where that is asked of other than three bands which only RGB has."""
    if grayscale or {'saturation', 'hue'} & {*jitter}:
        raise UserError(
            'saturation, hue and grayscale are for RGB: set them to 0 in RandomColor for images of '
            'another number of bands (--channels does)'
        )
