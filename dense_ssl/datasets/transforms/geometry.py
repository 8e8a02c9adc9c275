"""Random crops and flips that record where a view comes from."""

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpretrain.datasets import RandomResizedCrop
from PIL import Image

from dense_ssl.errors import UserError
from dense_ssl.registry import TRANSFORMS

from .view_box import crop_to_box, flip_box

__all__ = ['RandomResizedCropWithBox', 'RandomFlipWithBox']


def resize(img: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Antialiased resize of (H, W, C) uint8 to ``size`` (height, width)."""
    if interpolation not in ('bilinear', 'bicubic'):
        # Pillow takes long to read a strided array, little to read a copy.
        resample = Image.Resampling[interpolation.upper()]
        parts = [img] if img.shape[2] == 3 else np.moveaxis(img, -1, 0)
        images = [Image.fromarray(np.ascontiguousarray(part)) for part in parts]
        resized = [np.asarray(image.resize(size[::-1], resample)) for image in images]
        return resized[0] if img.shape[2] == 3 else np.stack(resized, -1)
    # A copy again: torch's fast code wants the channels of a pixel together.
    crop = torch.from_numpy(np.array(img, order='C'))
    view = F.interpolate(
        crop.permute(2, 0, 1)[None], size, mode=interpolation, align_corners=False, antialias=True
    )
    return view[0].permute(1, 2, 0).numpy()


@TRANSFORMS.register_module()
class RandomResizedCropWithBox(RandomResizedCrop):
    """mmpretrain's (and torchvision's) random resized crop, with its box.

    The crop is filtered when it shrinks (antialiased), as Pillow does it;
    torch's 8-bit resize gives the same pixels (some are off by one) in a
    fifth of the time. Small images are enlarged.

    The view's memory holds one channel after the other, which spares the
    batch a transposition.

    **Required Keys:** img (np.ndarray, (H, W, 3), uint8)

    **Modified Keys:** img, img_shape

    **Added Keys:** view_box (np.ndarray, (4, ), float32: x1, y1, x2, y2; see
    :mod:`~dense_ssl.datasets.transforms.view_box`)

    Args:
        scale (int | Sequence[int]): Size of the view in pixels, one number
            or (height, width).
        crop_ratio_range (tuple): Range of the crop's share of the image's
            area. Defaults to (0.08, 1.0).
        aspect_ratio_range (tuple): Range of width / height of the crop.
            Defaults to (3 / 4, 4 / 3).
        max_attempts (int): Attempts before the central crop is taken.
            Defaults to 10.
        interpolation (str): 'nearest', 'bilinear', 'bicubic' or 'lanczos'.
            Defaults to 'bilinear'.
    """

    def __init__(
        self,
        scale,
        crop_ratio_range: tuple = (0.08, 1.0),
        aspect_ratio_range: tuple = (3.0 / 4.0, 4.0 / 3.0),
        max_attempts: int = 10,
        interpolation: str = 'bilinear',
    ) -> None:
        low, high = crop_ratio_range
        if not 0 < low <= high <= 1:
            raise UserError(f'crop_ratio_range={crop_ratio_range}: (least, most) within (0, 1]')
        if not 0 < aspect_ratio_range[0] <= aspect_ratio_range[1]:
            raise UserError(f'aspect_ratio_range={aspect_ratio_range}: (least, most), positive')
        if not np.min(scale) >= 1:
            raise UserError(f'scale={scale}: a view has at least a pixel (scale, or view_size)')
        super().__init__(
            scale,
            crop_ratio_range=crop_ratio_range,
            aspect_ratio_range=aspect_ratio_range,
            max_attempts=max_attempts,
            interpolation=interpolation,
            backend='pillow',
        )

    def transform(self, results: dict) -> dict:
        img = results['img']
        top, left, height, width = self.rand_crop_params(img)
        crop = img[top : top + height, left : left + width]
        results['img'] = resize(crop, tuple(self.scale), self.interpolation)
        results['img_shape'] = tuple(self.scale)
        results['view_box'] = crop_to_box(top, left, height, width, *img.shape[:2])
        return results


@TRANSFORMS.register_module()
class RandomFlipWithBox(BaseTransform):
    """Random flips that turn the view's box with the view.

    **Required Keys:** img (np.ndarray, (H, W, C)), view_box

    **Modified Keys:** img, view_box

    Args:
        prob (float): Probability of a left-right flip. Defaults to 0.5.
        vertical_prob (float): Probability of an upside-down flip, drawn
            independently. Defaults to 0.
    """

    def __init__(self, prob: float = 0.5, vertical_prob: float = 0.0) -> None:
        probs = dict(prob=prob, vertical_prob=vertical_prob)
        for name, value in probs.items():
            if not 0 <= value <= 1:
                raise UserError(f'RandomFlipWithBox: {name} must lie in [0, 1], got {value}')
        self.prob = prob
        self.vertical_prob = vertical_prob

    @cache_randomness
    def draw(self) -> tuple:
        """Whether to flip left-right, and upside down."""
        horizontal, vertical = np.random.random_sample(2)
        return horizontal < self.prob, vertical < self.vertical_prob

    def transform(self, results: dict) -> dict:
        horizontal, vertical = self.draw()
        if horizontal or vertical:
            # Pillow's arrays are read-only, which torch warns about
            img = torch.from_numpy(np.require(results['img'], None, 'W'))
            axes = [i for i, flip in enumerate((vertical, horizontal)) if flip]
            results['img'] = img.flip(axes).numpy()
            results['view_box'] = flip_box(results['view_box'], horizontal, vertical)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, vertical_prob={self.vertical_prob})'
