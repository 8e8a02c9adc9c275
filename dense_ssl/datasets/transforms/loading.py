"""Loading of images of any kind as RGB."""

from typing import Optional

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from dense_ssl.errors import UserError
from dense_ssl.registry import TRANSFORMS

from ..band_reading import read_bands
from ..image_reading import read_rgb
from ..survey import WhiteLevel, given_levels

__all__ = ['LoadRGBImage']


@TRANSFORMS.register_module()
class LoadRGBImage(BaseTransform):
    """Read ``img_path`` as upright 8-bit RGB, whatever kind of file it is.

    See :func:`~dense_ssl.datasets.image_reading.read_rgb` for what is done to
    gray, transparent, CMYK, palette, 16-bit, rotated and animated files. In
    mmdet's, mmseg's and mmpretrain's pipelines, with BGR, it takes the place
    of their ``LoadImageFromFile``.

    **Required Keys:** img_path (str); an ``img`` without it stays as it is

    **Added Keys:** img (np.ndarray, (H, W, channels), uint8), img_shape, ori_shape
    ((H, W))

    Args:
        white_level: What becomes white of pixels wider than 8 bits, see
            :func:`~dense_ssl.datasets.survey.find_levels`, but for 'auto'.
            Defaults to None: the data set's, or a file is scaled by itself.
        channel_order (str): 'rgb' or 'bgr'. Defaults to 'rgb'.
        to_float32 (bool): Give floating point, of the same values.
        channels (int): Bands of the images. Other numbers than 3 are read as
            :func:`~dense_ssl.datasets.band_reading.read_bands` does, in their
            own order.

    Raises:
        UnreadableImage: Names the file and what is wrong with it.
    """

    def __init__(
        self,
        white_level: Optional[WhiteLevel] = None,
        channel_order: str = 'rgb',
        to_float32: bool = False,
        channels: int = 3,
    ) -> None:
        if not isinstance(channels, int) or channels < 1:
            raise UserError(f'channels must be a number of bands, 1 or more, got {channels!r}')
        self.channels = channels
        if channel_order not in ('rgb', 'bgr'):
            raise UserError(f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}")
        self.levels = None if white_level is None else given_levels(white_level)
        self.channel_order, self.to_float32 = channel_order, to_float32

    def transform(self, results: dict) -> dict:
        if 'img_path' not in results and 'img' in results:  # mmpretrain's inferencers read
            return results
        if self.channels == 3:
            img = read_rgb(results['img_path'], self.levels)
        else:
            img = read_bands(results['img_path'], self.channels, self.levels)
        if self.channel_order == 'bgr' and self.channels == 3:
            img = cv2.cvtColor(img, cv2.COLOR_RGB2BGR)
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
