"""Photograph-like JPEGs for timing, made on the spot."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, number: int, size=(640, 480)) -> list:
    """``number`` JPEGs of smooth colours, edges and sensor noise.

    At 4:2:0 and quality 90 they take about as many bytes as photographs of
    this size do, which is what decoding time depends on.
    """
    rng = np.random.default_rng(0)
    width, height = size
    for i in range(number):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        blocks = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.NEAREST
        )
        mixed = np.asarray(Image.blend(smooth, blocks, 0.25), np.float32)
        noisy = mixed + rng.normal(0, 9, (height, width, 1))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(
            folder / f'{i:04}.jpg', quality=90
        )
    return sorted(folder.glob('*.jpg'))
