"""Images with label maps, read as pre-training reads images."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dense_ssl.datasets.image_reading import Levels, read_rgb
from dense_ssl.datasets.survey import find_levels
from dense_ssl.errors import UserError

__all__ = ['IGNORE', 'LabeledBatch', 'LabeledImages', 'labeled_splits']

#: Label of pixels that do not count.
IGNORE = 255


class LabeledBatch(NamedTuple):
    """Images of one size.

    Attributes:
        images: Normalised RGB (N, 3, H, W), float32.
        labels: Class of each pixel (N, H, W), int64; 255 where there is none.
    """

    images: Tensor
    labels: Tensor


class LabeledImages:
    """Batches of images with the class of each pixel, in order.

    Args:
        pairs: Image and label map of each; a map holds class indices, and 255.
        scale: Longer and shorter side in pixels that images are fitted into, ratio kept.
        mean, std: Of the RGB values, as pre-training normalised them.
        levels: Black and white of pixels wider than 8 bits, see :func:`read_rgb`.
        batch_size: Images at a time; of one size, so perhaps fewer.
        device: Where batches go.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        scale: tuple[int, int],
        mean: Union[Sequence[float], Tensor],
        std: Union[Sequence[float], Tensor],
        levels: Optional[Levels] = None,
        batch_size: int = 16,
        device: Union[torch.device, str] = 'cpu',
    ) -> None:
        self.pairs = list(pairs)
        self.long, self.short = max(scale), min(scale)
        self.mean, self.std = (torch.as_tensor(x).cpu().view(3, 1, 1) for x in (mean, std))
        self.levels, self.batch_size, self.device = levels, batch_size, device

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[LabeledBatch]:
        with ThreadPoolExecutor(4) as pool:
            for start in range(0, len(self.pairs), self.batch_size):
                chunk = pool.map(self._read, self.pairs[start : start + self.batch_size])
                for _, items in groupby(chunk, key=lambda item: item[1].shape):
                    images, labels = zip(*items)
                    batch = torch.stack(images), torch.stack(labels)
                    yield LabeledBatch(*(x.to(self.device) for x in batch))

    def _read(self, pair: tuple[Path, Path]) -> tuple[Tensor, Tensor]:
        pixels = read_rgb(str(pair[0]), self.levels)
        with Image.open(pair[1]) as file:
            labels = np.asarray(file)
        height, width = pixels.shape[:2]
        if labels.shape != (height, width):
            raise UserError(
                f'{pair[1]} has {labels.shape[1]}x{labels.shape[0]} pixels, its image {width}x'
                f'{height}: write label maps of the same size as their images'
            )
        factor = min(self.long / max(height, width), self.short / min(height, width))
        size = tuple(max(1, round(side * factor)) for side in (width, height))
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        image = torch.from_numpy(cv2.resize(pixels, size, interpolation=method))
        labels = cv2.resize(labels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        image = (image.permute(2, 0, 1).float() - self.mean) / self.std
        return image, torch.from_numpy(labels).long()


def labeled_splits(
    cfg: Any,
    pairs: Sequence[Sequence[tuple[Path, Path]]],
    scale: tuple[int, int],
    normalise: Any,
    device: Union[torch.device, str],
) -> list[LabeledImages]:
    """Training and validation images of a probe, both with the white level of the former.

    Args:
        cfg: Config of the pre-training; its ``white_level`` is used, or found in the images.
        pairs: Of training and of validation.
        scale, device: See :class:`LabeledImages`.
        normalise: The pre-training's preprocessor, with ``mean`` and ``std``.
    """
    paths = [str(image) for image, _ in pairs[0]]
    levels = find_levels(cfg.get('white_level', 'auto'), paths, 'labelled images')
    return [
        LabeledImages(split, scale, normalise.mean, normalise.std, levels, device=device)
        for split in pairs
    ]
