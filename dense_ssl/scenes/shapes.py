"""Outlines of the scene objects and their anti-aliased coverage.

An outline is a list of closed polygons, float (P, 2) in units of the
object's radius; polygons are combined by the even-odd rule, so the second
polygon of a ring is its hole.
"""

import cv2
import numpy as np

__all__ = ['OUTLINES', 'coverage']

# cv2 draws at 1 / 2**SHIFT of a pixel
SHIFT = 4


def _regular(points: int, radius: float = 1.0, start: float = 0.0):
    angle = start + np.arange(points) * 2 * np.pi / points
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def disc() -> list[np.ndarray]:
    return [_regular(40)]


def ring() -> list[np.ndarray]:
    return [_regular(40), _regular(40, 0.45)]


def box() -> list[np.ndarray]:
    return [_regular(4, 1.15, np.pi / 4)]


def triangle() -> list[np.ndarray]:
    return [_regular(3, 1.2, -np.pi / 2)]


def star() -> list[np.ndarray]:
    points = np.empty((10, 2))
    points[0::2] = _regular(5, 1.2, -np.pi / 2)
    points[1::2] = _regular(5, 0.55, -np.pi / 2 + np.pi / 5)
    return [points]


def cross() -> list[np.ndarray]:
    a, b = 1.1, 0.4
    return [
        np.array(
            [
                [-b, -a],
                [b, -a],
                [b, -b],
                [a, -b],
                [a, b],
                [b, b],
                [b, a],
                [-b, a],
                [-b, b],
                [-a, b],
                [-a, -b],
                [-b, -b],
            ]
        )
    ]


OUTLINES = dict(disc=disc, box=box, triangle=triangle, star=star, ring=ring, cross=cross)


def coverage(outline: list[np.ndarray], matrix: np.ndarray, size: int) -> np.ndarray:
    """How much of each pixel an outline covers.

    Args:
        outline: Polygons (P, 2) in local units.
        matrix: (2, 3) affine map from local units to pixels.
        size: Side of the square image in pixels.

    Returns:
        np.ndarray: uint8 (size, size), 0 = outside, 255 = fully inside,
        between the two where the outline crosses the pixel.
    """
    polygons = [
        np.round((p @ matrix[:, :2].T + matrix[:, 2]) * 2**SHIFT).astype(np.int32) for p in outline
    ]
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, polygons, 255, lineType=cv2.LINE_AA, shift=SHIFT)
    return canvas
