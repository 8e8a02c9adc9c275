"""The color part of a view recipe, on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

import cv2
import numpy as np
import torchvision.transforms.functional as F
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import ColorJitter

from dense_ssl.color_params import COLOR_PARAMS, JITTER, check_bands_have
from dense_ssl.errors import UserError
from dense_ssl.former import old_arguments
from dense_ssl.registry import TRANSFORMS

__all__ = ['ColorParams', 'RandomColor', 'apply_color']

Strength = Union[float, Sequence[float]]
_ADJUST = {name: getattr(F, f'adjust_{name}') for name in JITTER}


@dataclass
class ColorParams:
    """What to do to the colors of one view; the defaults do nothing.

    Attributes:
        jitter (tuple): Pairs (name, factor) in the order of application;
            names: brightness, contrast, saturation, hue.
        grayscale (bool): Make the view gray.
        blur_sigma (float, optional): Standard deviation in pixels.
        solarize (int, optional): Invert values from this threshold on.
    """

    jitter: tuple[tuple[str, float], ...] = field(default=())
    grayscale: bool = False
    blur_sigma: Optional[float] = None
    solarize: Optional[int] = None

    def row(self) -> np.ndarray:
        """As it travels with the views, one ``COLOR_PARAMS``."""
        steps = [(JITTER.index(name), factor) for name, factor in self.jitter]
        steps += [(-1, 1.0)] * (len(JITTER) - len(steps))
        solarize = np.inf if self.solarize is None else self.solarize
        return np.array(
            (*zip(*steps), self.grayscale, self.blur_sigma or 0.0, solarize), COLOR_PARAMS
        )


def apply_color(img: np.ndarray, params: ColorParams) -> np.ndarray:
    """Apply given color operations: jitter, gray, blur, solarize, in turn.

    Args:
        img (np.ndarray): RGB, uint8, (H, W, 3); of other numbers of bands
            each by itself, where only brightness, contrast, blur and solarize
            have a meaning.
        params (ColorParams): What to do.

    Returns:
        np.ndarray: uint8, the same shape.

    Raises:
        UserError: Saturation, hue or gray of other than three bands.
    """
    if img.shape[2] != 3:
        return _apply_to_bands(img, params)
    if not img.flags.c_contiguous:  # channel by channel, as from the crop
        img = cv2.merge([img[..., i] for i in range(3)])
    view = Image.fromarray(img)
    for name, factor in params.jitter:
        view = _ADJUST[name](view, factor)
    if params.grayscale:
        view = F.rgb_to_grayscale(view, num_output_channels=3)
    if params.blur_sigma is not None:
        view = view.filter(ImageFilter.GaussianBlur(params.blur_sigma))
    if params.solarize is not None:
        view = ImageOps.solarize(view, params.solarize)
    return np.asarray(view)


def _apply_to_bands(img: np.ndarray, params: ColorParams) -> np.ndarray:
    check_bands_have(params.grayscale, *(name for name, _ in params.jitter))
    bands = []
    for band in np.moveaxis(img, -1, 0):
        view = Image.fromarray(np.ascontiguousarray(band))
        for name, factor in params.jitter:
            view = _ADJUST[name](view, factor)
        if params.blur_sigma is not None:
            view = view.filter(ImageFilter.GaussianBlur(params.blur_sigma))
        if params.solarize is not None:
            view = ImageOps.solarize(view, params.solarize)
        bands.append(np.asarray(view))
    return np.stack(bands, -1)


@TRANSFORMS.register_module(name=['RandomColor', 'RandomColour'])  # the old name
class RandomColor(BaseTransform):
    """Color jitter, gray, blur and solarize in one step.

    The operations are Pillow's on 8-bit values, as the released code of MoCo
    v2, DenseCL and PixPro has them. They stand in one transform so that a
    recipe's color part can be read, and be exchanged for another
    implementation, as one piece: drawing (:meth:`draw`) and applying
    (:func:`apply_color`) are separate. With ``on_device`` the worker only
    draws, the same numbers from the same generators, and
    :class:`~dense_ssl.models.DenseDataPreprocessor` applies them to the whole
    batch on the training device. Flips may still follow: they commute with
    every operation here.

    **Required Keys:** img (np.ndarray, (H, W, 3), uint8, RGB)

    **Modified Keys:** img (unless ``on_device``)

    **Added Keys:** view_color (np.ndarray, (), ``COLOR_PARAMS``; only with
    ``on_device``)

    Args:
        brightness, contrast, saturation, hue (float | Sequence[float]):
            Strengths or ranges as of torchvision's ColorJitter; applied in
            random order. Default to 0.
        jitter_prob (float): Probability of the jitter. Defaults to 0.8.
        grayscale_prob (float): Probability of a gray view. Defaults to 0.2.
        blur_prob (float): Probability of Gaussian blur. Defaults to 0.
        blur_sigma (Sequence[float]): Range of its standard deviation in
            pixels, drawn uniformly. Defaults to (0.1, 2.0).
        solarize_prob (float): Probability of inverting bright values.
            Defaults to 0.
        solarize_threshold (int): Least value inverted. Defaults to 128.
        on_device (bool): Leave applying to the data preprocessor. Defaults
            to False.
    """

    @old_arguments(
        grey_prob='grayscale_prob',
        solarise_prob='solarize_prob',
        solarise_threshold='solarize_threshold',
    )
    def __init__(
        self,
        brightness: Strength = 0.0,
        contrast: Strength = 0.0,
        saturation: Strength = 0.0,
        hue: Strength = 0.0,
        jitter_prob: float = 0.8,
        grayscale_prob: float = 0.2,
        blur_prob: float = 0.0,
        blur_sigma: Sequence[float] = (0.1, 2.0),
        solarize_prob: float = 0.0,
        solarize_threshold: int = 128,
        on_device: bool = False,
    ) -> None:
        self.jitter = ColorJitter(brightness, contrast, saturation, hue)
        self.probs = dict(
            jitter_prob=jitter_prob,
            grayscale_prob=grayscale_prob,
            blur_prob=blur_prob,
            solarize_prob=solarize_prob,
        )
        for name, prob in self.probs.items():
            if not 0 <= prob <= 1:
                raise UserError(f'RandomColor: {name} must lie in [0, 1], got {prob}')
        if not 0 <= blur_sigma[0] <= blur_sigma[1]:
            raise UserError(
                f'RandomColor: blur_sigma must be (least, most) and not negative, got {blur_sigma}'
            )
        if not 0 <= solarize_threshold <= 256:
            raise UserError(f'RandomColor: solarize_threshold={solarize_threshold}: 0 to 256')
        self.blur_sigma = (blur_sigma[0], blur_sigma[1])
        self.solarize_threshold = solarize_threshold
        self.on_device = on_device

    @cache_randomness
    def draw(self) -> ColorParams:
        """Draw what is done to one view.

        Every number is drawn whether it is used or not, so that all views
        take the same amount from the generators.
        """
        jitter = self.jitter
        order, *factors = jitter.get_params(
            jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
        )
        steps = [(name, factor) for name, factor in zip(JITTER, factors)]
        steps = [steps[i] for i in order.tolist() if steps[i][1] is not None]
        jittered, gray, blurred, solarized = np.random.random_sample(4) < list(self.probs.values())
        sigma = np.random.uniform(*self.blur_sigma)
        return ColorParams(
            jitter=tuple(steps) if jittered else (),
            grayscale=bool(gray),
            blur_sigma=sigma if blurred else None,
            solarize=self.solarize_threshold if solarized else None,
        )

    def transform(self, results: dict) -> dict:
        params = self.draw()
        if self.on_device:
            results['view_color'] = params.row()
        else:
            results['img'] = apply_color(results['img'], params)
        return results

    def __repr__(self) -> str:
        probs = ', '.join(f'{k}={v}' for k, v in self.probs.items())
        return (
            f'{type(self).__name__}({self.jitter}, {probs}, '
            f'blur_sigma={self.blur_sigma}, '
            f'solarize_threshold={self.solarize_threshold}, '
            f'on_device={self.on_device})'
        )
