"""Color operations on a batch of views, each with its own parameters.

The same operations as the workers' (``datasets/transforms/color.py``), in
floating point and without rounding to 8 bits after each.

Written with torch operations rather than with kornia: the parameters are
drawn by the workers, so that the host knows which samples need what. Costly
operations then run on those samples only and nothing waits for the device,
and blur is Pillow's (three box filters), not a sampled Gaussian.
"""

from collections.abc import Iterator
from math import floor, sqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dense_ssl.color_params import JITTER, check_bands_have

__all__ = ['batch_color', 'blur_kernel']

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(JITTER))
LUMA = (0.299, 0.587, 0.114)


@torch.no_grad()
def batch_color(views: Tensor, table: np.ndarray) -> Tensor:
    """Jitter, gray, blur and solarize, in turn.

    Args:
        views (Tensor): RGB on the scale 0..255, uint8 or floating point,
            (N, 3, H, W); of other numbers of bands each by itself.
        table (np.ndarray): What to do to each, (N, ) of ``COLOR_PARAMS``, on
            the host.

    Returns:
        Tensor: float32 (N, 3, H, W), 0..255, a new tensor.

    Raises:
        UserError: Saturation, hue or gray of other than three bands.
    """
    if views.shape[1] != 3:
        names = (JITTER[op] for op in np.unique(table['operation']) if op >= 0)
        check_bands_have(bool(table['grayscale'].any()), *names)
    x = views.to(torch.float32, copy=True)
    # In half precision 255 steps would be most of the digits there are.
    with torch.autocast(x.device.type, enabled=False):
        for op, factor in _jitter_steps(table):
            x = _blend(x, op, factor)
            x = _on_some(x, op == HUE, _turn_hue, factor)
        x = _make_gray(x, table['grayscale'])
        x = _on_some(x, table['blur_sigma'] > 0, _blur, table['blur_sigma'])
        return _solarize(x, table['solarize_threshold'])


def _jitter_steps(table: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """(operations (N, ), factors (N, )) of the four steps."""
    for op, factor in zip(table['operation'].T, table['factor'].T):
        if (op >= 0).any():
            yield op, factor


def _send(values: np.ndarray, x: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(x.device, non_blocking=True)


def _on_some(x: Tensor, wanted: np.ndarray, function, values) -> Tensor:
    """``function(x, values)`` where ``wanted``, in place for the others."""
    if not wanted.any():
        return x
    if wanted.all():
        return function(x, values)
    index = _send(wanted.nonzero()[0], x)
    done = function(x.index_select(0, index), values[wanted])
    return x.index_copy_(0, index, done)


def _luma(x: Tensor) -> Tensor:
    """(N, 1, H, W); of other than three bands a copy of each."""
    if x.shape[1] != 3:
        return x.clone()
    red, green, blue = x.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _blend(x: Tensor, op: np.ndarray, factor: np.ndarray) -> Tensor:
    """Brightness, contrast, saturation of those samples that get them now.

    All three are ``f x + (1 - f) other``, with black, the mean luma and the
    pixel's luma as the other.
    """
    blended = (op >= 0) & (op != HUE)
    if not blended.any():
        return x
    factors = np.where(blended, factor, 1.0)
    to_pixel = np.where(op == SATURATION, 1 - factor, 0.0)
    to_mean = np.where(op == CONTRAST, 1 - factor, 0.0)
    weights = _send(np.stack([factors, to_pixel, to_mean]).astype(np.float32), x)
    own, pixel, mean = weights[:, :, None, None, None].unbind()
    if (op == BRIGHTNESS)[blended].all():
        return x.mul_(own).clamp_(0, 255)
    luma = _luma(x)
    mean_luma = luma.mean((2, 3), keepdim=True).round_()
    other = luma.mul_(pixel).add_(mean_luma.mul_(mean))
    return x.mul_(own).add_(other).clamp_(0, 255)


def _turn_hue(x: Tensor, shift: np.ndarray) -> Tensor:
    """Turn the hue by ``shift`` (N, ) full circles."""
    red, green, blue = x.unbind(1)
    top = torch.maximum(torch.maximum(red, green), blue)
    chroma = top - torch.minimum(torch.minimum(red, green), blue)
    # The hue in sixths of the circle, from the two channels that are not top.
    per_chroma = chroma.clamp(min=1e-6).reciprocal_()
    hue = torch.where(
        top == red,
        (green - blue).mul_(per_chroma),
        torch.where(
            top == green,
            (blue - red).mul_(per_chroma).add_(2),
            (red - green).mul_(per_chroma).add_(4),
        ),
    )
    hue = hue.add_(_send(6 * shift, x)[:, None, None])
    # How far below the top each channel lies, in parts of the chroma: a
    # trapezium of the hue, which each channel meets a third later.
    start = torch.tensor((5.0, 3.0, 1.0)).to(x.device, non_blocking=True)
    k = hue[:, None].add(start[:, None, None])
    k.sub_(k.div(6).floor_().mul_(6))
    below = k.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)
    return top[:, None].sub(below.mul_(chroma[:, None]))


def _make_gray(x: Tensor, gray: np.ndarray) -> Tensor:
    return _on_some(x, gray, lambda some, _: _luma(some).repeat(1, 3, 1, 1), gray)


def blur_kernel(sigmas: np.ndarray) -> np.ndarray:
    """Pillow's Gaussian: three box filters with fractional ends.

    Args:
        sigmas (np.ndarray): Standard deviations in pixels, (N, ).

    Returns:
        np.ndarray: float32 (N, K), K odd, rows summing to 1.
    """
    boxes = []
    for sigma in sigmas:
        variance = float(sigma) ** 2 / 3
        whole = floor((sqrt(12 * variance + 1) - 1) / 2)
        rest = (
            (2 * whole + 1)
            * (whole * (whole + 1) - 3 * variance)
            / (6 * (variance - (whole + 1) ** 2))
        )
        full = 1 / (2 * (whole + rest) + 1)
        box = np.full(2 * whole + 3, full)
        box[[0, -1]] = (1 - (2 * whole + 1) * full) / 2
        boxes.append(np.convolve(np.convolve(box, box), box))
    size = max(map(len, boxes))
    return np.stack([np.pad(box, (size - len(box)) // 2) for box in boxes]).astype(np.float32)


def _blur(x: Tensor, sigmas: np.ndarray) -> Tensor:
    count, channels = x.shape[:2]
    kernel = _send(blur_kernel(sigmas), x).repeat_interleave(
        channels, 0, output_size=channels * count
    )
    radius = kernel.shape[1] // 2
    # One group per sample and channel: each has a filter of its own.
    planes = x.reshape(1, channels * count, *x.shape[2:])
    padded = F.pad(planes, (radius,) * 4, mode='replicate')
    rows = F.conv2d(padded, kernel[:, None, None], groups=len(kernel))
    return F.conv2d(rows, kernel[:, None, :, None], groups=len(kernel)).view(x.shape)


def _solarize(x: Tensor, threshold: np.ndarray) -> Tensor:
    if np.isinf(threshold).all():
        return x
    # Values are not rounded: from half a step below they would become it.
    least = _send(threshold - 0.5, x)[:, None, None, None]
    return torch.where(x >= least, 255 - x, x)
