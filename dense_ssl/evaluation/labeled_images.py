"""Images with label maps, read as pre-training reads images."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Union

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dense_ssl.datasets.image_reading import read_rgb
from dense_ssl.errors import UserError

__all__ = ['IGNORE', 'LabeledBatch', 'LabeledImages']

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
        batch_size: Images at a time; of one size, so perhaps fewer.
        device: Where batches go.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        scale: tuple[int, int],
        mean: Union[Sequence[float], Tensor],
        std: Union[Sequence[float], Tensor],
        batch_size: int = 16,
        device: Union[torch.device, str] = 'cpu',
    ) -> None:
        self.pairs = list(pairs)
        self.long, self.short = max(scale), min(scale)
        self.mean, self.std = (torch.as_tensor(x).cpu().view(3, 1, 1) for x in (mean, std))
        self.batch_size, self.device = batch_size, device

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
        pixels = read_rgb(str(pair[0]))
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
