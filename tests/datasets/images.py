"""Small images and files for the tests of data sets."""

from pathlib import Path

import numpy as np
from PIL import Image


def blobs(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    """A smooth color picture, uint8 (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def write_images(folder: Path, number: int, size=(48, 40), **save) -> list:
    """``number`` different JPEGs in ``folder``; their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f'{i:03d}.jpg' for i in range(number)]
    for i, path in enumerate(paths):
        Image.fromarray(blobs(size[1], size[0], seed=i)).save(path, quality=90, **save)
    return [str(path) for path in paths]


def cut(path, keep: float = 0.5) -> None:
    """Truncate a file, its header left whole."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * keep)])
