"""Arithmetic of view boxes: where in the source image a view comes from.

A view box is (x1, y1, x2, y2), the source coordinates of the view's left,
top, right and bottom, written along the view's *own* axes: a view flipped
left-right has x1 > x2.

Coordinates follow PixPro's released code (arXiv 2011.10043): they are
normalised by W - 1 and H - 1, so that 0 and 1 are the *centres* of the image's
first and last pixels, and a box runs from the centre of the crop's first pixel
to the centre of its last one. (Boxes in detection usually run between pixel
*edges*, normalised by W and H; a crop of w pixels is w / W wide there, and
(w - 1) / (W - 1) here.) The whole image is (0, 0, 1, 1) both ways.

On an axis of one single pixel the released formula divides by zero. Here such
an axis spans [0, 1]: the crop can only be the whole of it. A crop one pixel
wide of a wider image has no extent (x1 = x2).
"""

import numpy as np

__all__ = ['crop_to_box', 'flip_box']


def _span(start: int, length: int, full: int) -> tuple[float, float]:
    if full == 1:
        return 0.0, 1.0
    return start / (full - 1), (start + length - 1) / (full - 1)


def crop_to_box(
    top: int, left: int, height: int, width: int, image_height: int, image_width: int
) -> np.ndarray:
    """Box of a crop of ``height`` x ``width`` pixels at (``top``, ``left``).

    Returns:
        np.ndarray: (x1, y1, x2, y2), float32, in [0, 1].
    """
    x1, x2 = _span(left, width, image_width)
    y1, y2 = _span(top, height, image_height)
    return np.array([x1, y1, x2, y2], dtype=np.float32)


def flip_box(box: np.ndarray, horizontal: bool = False, vertical: bool = False) -> np.ndarray:
    """Box of the flipped view: swaps x1, x2 (left-right) or y1, y2."""
    x1, y1, x2, y2 = box
    if horizontal:
        x1, x2 = x2, x1
    if vertical:
        y1, y2 = y2, y1
    return np.array([x1, y1, x2, y2], dtype=np.float32)
