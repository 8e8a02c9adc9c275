"""Random crops and flips that record where a view comes from."""
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpretrain.datasets import RandomResizedCrop
from PIL import Image

from dense_ssl.registry import TRANSFORMS
from .view_box import crop_to_box, flip_box

__all__ = ['RandomResizedCropWithBox', 'RandomFlipWithBox']


@TRANSFORMS.register_module()
class RandomResizedCropWithBox(RandomResizedCrop):
    """mmpretrain's (and torchvision's) random resized crop, with its box.

    The crop is resized as torchvision does it with Pillow: filtered when it
    shrinks (antialiased). Small images are enlarged.

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

    def __init__(self,
                 scale,
                 crop_ratio_range: tuple = (0.08, 1.0),
                 aspect_ratio_range: tuple = (3. / 4., 4. / 3.),
                 max_attempts: int = 10,
                 interpolation: str = 'bilinear') -> None:
        super().__init__(
            scale,
            crop_ratio_range=crop_ratio_range,
            aspect_ratio_range=aspect_ratio_range,
            max_attempts=max_attempts,
            interpolation=interpolation,
            backend='pillow')
        self.resample = Image.Resampling[interpolation.upper()]

    def transform(self, results: dict) -> dict:
        img = results['img']
        top, left, height, width = self.rand_crop_params(img)
        # Pillow takes 1.5 ms to read a strided array of 500 x 400 pixels,
        # 0.1 ms to read a copy.
        crop = np.ascontiguousarray(img[top:top + height, left:left + width])
        view = Image.fromarray(crop).resize(
            tuple(self.scale[::-1]), self.resample)
        results['img'] = np.asarray(view)
        results['img_shape'] = tuple(self.scale)
        results['view_box'] = crop_to_box(top, left, height, width,
                                          *img.shape[:2])
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

    def __init__(self, prob: float = 0.5, vertical_prob: float = 0.) -> None:
        probs = dict(prob=prob, vertical_prob=vertical_prob)
        for name, value in probs.items():
            if not 0 <= value <= 1:
                raise ValueError(f'RandomFlipWithBox: {name} must lie in '
                                 f'[0, 1], got {value}')
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
            img = results['img'][::-1 if vertical else 1, ::-1
                                 if horizontal else 1]
            results['img'] = np.ascontiguousarray(img)
            results['view_box'] = flip_box(results['view_box'], horizontal,
                                           vertical)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(prob={self.prob}, '
                f'vertical_prob={self.vertical_prob})')
