"""Textures of the procedural scenes: grey fields that mix two colours.

Each function takes local coordinates ``u, v`` (float32 arrays of one shape,
in units of the object's radius, or of the image's side for backgrounds) and
returns a field in [0, 1] of that shape. Colour never tells a class here:
the two colours a field mixes are drawn at random for every object.
"""

import cv2
import numpy as np

__all__ = [
    'stripes',
    'checker',
    'dots',
    'speckle',
    'gradient',
    'waves',
    'clouds',
    'bricks',
    'grain',
    'streaks',
    'value_noise',
    'two_colours',
]


def _soft_step(x: np.ndarray, sharpness: float = 4.0) -> np.ndarray:
    """A square wave with soft flanks, so that small objects do not alias."""
    return np.clip(0.5 + sharpness * x, 0, 1)


def value_noise(rng: np.random.Generator, shape, cells) -> np.ndarray:
    """Smooth noise in [0, 1] of ``shape`` with about ``cells`` blobs.

    Args:
        rng: Source of randomness.
        shape: (height, width) in pixels.
        cells: (rows, columns) of the random grid that is enlarged.
    """
    grid = rng.random((max(2, int(cells[0])), max(2, int(cells[1]))), dtype=np.float32)
    field = cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(field, 0, 1)


def stripes(rng, u, v):
    return _soft_step(np.sin(rng.uniform(6, 9) * u + rng.uniform(0, 6.3)), 2)


def checker(rng, u, v):
    f = rng.uniform(4.5, 6.5)
    return _soft_step(np.sin(f * u) * np.sin(f * v))


def dots(rng, u, v):
    f = rng.uniform(1.5, 2.1)
    du, dv = (f * u) % 1 - 0.5, (f * v) % 1 - 0.5
    return _soft_step(0.3 - np.sqrt(du * du + dv * dv), 8)


def speckle(rng, u, v):
    """Blotches of a few pixels, without any direction."""
    noise = value_noise(rng, u.shape, (u.shape[0] / 2.5, u.shape[1] / 2.5))
    return _soft_step(noise - 0.5, 2.5)


def gradient(rng, u, v):
    return np.clip(0.5 + 0.55 * u, 0, 1)


def waves(rng, u, v):
    """Concentric rings around the object's centre."""
    radius = np.sqrt(u * u + v * v)
    return _soft_step(np.sin(rng.uniform(11, 15) * radius), 2)


def clouds(rng, u, v):
    """Sky: a vertical gradient with faint large blobs."""
    blobs = value_noise(rng, u.shape, (4, 3))
    return np.clip(0.75 * v + 0.35 * (blobs - 0.5), 0, 1)


def bricks(rng, u, v):
    """Wall: rows of bricks, every other row shifted by half a brick."""
    rows = rng.uniform(9, 13)
    y = v * rows
    x = u * rows * 0.5 + 0.5 * (np.floor(y) % 2)
    joint = np.minimum(np.minimum(x % 1, 1 - x % 1) * 2, np.minimum(y % 1, 1 - y % 1))
    return _soft_step(joint - 0.13, 6)


def grain(rng, u, v):
    """Road: fine grain, one or two pixels wide."""
    fine = rng.random(u.shape, dtype=np.float32)
    return np.clip(0.8 * fine + 0.2 * value_noise(rng, u.shape, (3, 3)), 0, 1)


def streaks(rng, u, v):
    """Terrain: horizontal streaks of several widths."""
    h, w = u.shape
    coarse = value_noise(rng, u.shape, (h / 8, w / 32))
    fine = value_noise(rng, u.shape, (h / 3, w / 12))
    return _soft_step(0.5 * coarse + 0.5 * fine - 0.5, 2.5)


def two_colours(rng: np.random.Generator, contrast: float) -> np.ndarray:
    """Two random BGR colours, ``contrast`` grey levels apart at least.

    Returns:
        np.ndarray: float32 (2, 3) in [0, 255].
    """
    base = rng.uniform(20, 235, 3)
    step = rng.normal(size=3)
    step *= rng.uniform(contrast, 1.6 * contrast) / np.abs(step).mean()
    # towards the far side of the range, so that clipping leaves contrast
    if (base + step).mean() > 235 or (base + step).mean() < 20:
        step = -step
    return np.clip(np.stack([base, base + step]), 0, 255).astype(np.float32)
