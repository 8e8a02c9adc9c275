"""A checkpoint's networks, and what they make of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Union

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from dense_ssl.datasets.image_listing import find_images
from dense_ssl.datasets.image_reading import read_rgb
from dense_ssl.datasets.transforms.multi_view import build_transforms
from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS
from dense_ssl.transfer import Part, match_parts, read_checkpoint

__all__ = ['PretrainedNetwork', 'draw_views_of', 'image_files', 'read_image', 'view_pair']

RANDOM = 'random'


class PretrainedNetwork:
    """The online networks of a pre-training checkpoint, in evaluation mode.

    Args:
        cfg (Config): Of the pre-training.
        checkpoint: Its file, or the word 'random' for weights as training starts with.
        name: What titles call it.

    Raises:
        TransferError: The file does not fit the config.
    """

    def __init__(self, cfg: Config, checkpoint: Union[str, Path], name: str = 'trained') -> None:
        init_default_scope(cfg.get('default_scope', 'dense_ssl'))
        settings = cfg.model.to_dict()
        if 'queue_len' in settings:
            settings['queue_len'] = 1  # not needed, and large
        torch.manual_seed(0)
        self.model = MODELS.build({'_scope_': 'dense_ssl', **settings})
        self.random = str(checkpoint) == RANDOM
        self.name = 'random weights' if self.random else name
        self.queues: dict[str, tuple[Tensor, int]] = {}
        if self.random:
            self.model.init_weights()
        else:
            self._load(checkpoint)
        self.model.eval()
        preprocessor = cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor') or {}
        self.mean, self.std = (
            torch.tensor(preprocessor.get(key) or default, dtype=torch.float32).reshape(3, 1, 1)
            for key, default in (('mean', [0.0] * 3), ('std', [1.0] * 3))
        )

    def _load(self, checkpoint) -> None:
        weights = read_checkpoint(checkpoint).state_dict
        names = [n for n, _ in self.model.named_children() if not n.endswith('queue')]
        here = {key.partition('.')[0] for key in self.model.state_dict()}
        parts = [Part(f'{name}.', f'{name}.', name) for name in names if name in here]
        match_parts(self.model, weights, parts).apply()
        for name in ('queue', 'dense_queue'):
            if f'{name}.features' in weights:
                written = int(weights.get(f'{name}.written', 0))
                self.queues[name] = weights[f'{name}.features'].float(), written

    @torch.no_grad()
    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Backbone's maps (N, C, H, W) of pixels (N, 3, H, W) from 0 to 255."""
        return list(self.model.backbone((pixels.float() - self.mean) / self.std))

    def cells(self, image: np.ndarray) -> Tensor:
        """Last map (C, h, w) of an image (H, W, 3)."""
        return self.maps(torch.from_numpy(image).permute(2, 0, 1)[None])[-1][0]


def image_files(paths: Sequence[Union[str, Path]], most: int = 8) -> list[str]:
    """Files among ``paths``; of a folder, evenly spaced ones, ``most`` in all.

    Raises:
        UserError: There is no image.
    """
    files: list[str] = []
    for path in map(str, paths):
        if Path(path).is_dir():
            files += [str(Path(path) / name) for name in find_images(path)]
        else:
            files.append(path)
    if not files:
        raise UserError(f'no image in {", ".join(map(str, paths))}')
    if len(files) > most:
        files = [files[round(i * (len(files) - 1) / max(1, most - 1))] for i in range(most)]
    return files


def read_image(path: str, size: int = 448, multiple: int = 32) -> np.ndarray:
    """An image (H, W, 3), uint8, its long side ``size``, sides a multiple of ``multiple``."""
    pixels = torch.from_numpy(read_rgb(path).copy()).permute(2, 0, 1)[None].float()
    height, width = pixels.shape[-2:]
    sides = [
        max(multiple, round(side * size / max(height, width) / multiple) * multiple)
        for side in (height, width)
    ]
    pixels = F.interpolate(pixels, sides, mode='bilinear', antialias=True, align_corners=False)
    return pixels[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def draw_views_of(cfg: Config, path: str, size: int = 0, seed: int = 0):
    """The views that a config's pipeline makes of a file, without normalising.

    Args:
        cfg (Config): Of the pre-training.
        path (str): An image.
        size (int): Side of the views in pixels; 0 (default) keeps the config's.
        seed (int): Of all that is drawn.

    Returns:
        tuple: pictures, uint8 (H, W, 3) each; their view boxes (V, 4).

    Raises:
        UserError: The pipeline makes no views with boxes.
    """
    init_default_scope(cfg.get('default_scope', 'dense_ssl'))
    np.random.seed(seed)
    torch.manual_seed(seed)
    pipeline = [dict(step) for step in cfg.train_dataloader.dataset.pipeline]
    for step in pipeline:
        if size and 'view_size' in step:
            step['view_size'] = size
    data: dict = dict(img_path=path, sample_idx=0)
    for transform in build_transforms(pipeline):
        data = transform(data)
    samples = [data['data_samples']]
    if 'view_boxes' not in samples[0]:
        raise UserError('the pipeline makes no views with boxes: use a config of pre-training')
    # Colours may be left to the preprocessor.
    settings = dict(cfg.get('data_preprocessor') or {'type': 'DenseDataPreprocessor'})
    preprocessor = MODELS.build({**settings, 'mean': None, 'std': None, '_scope_': 'dense_ssl'})
    batch = preprocessor(
        dict(inputs=[view[None] for view in data['inputs']], data_samples=samples), training=True
    )
    pictures = [v[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy() for v in batch['inputs']]
    return pictures, batch['data_samples'][0].view_boxes


def view_pair(cfg: Config, path: str, size: int = 0, seed: int = 0):
    """Two views of a file and their boxes (2, 4), see :func:`draw_views_of`."""
    pictures, boxes = draw_views_of(cfg, path, size, seed)
    return pictures[0], pictures[1], boxes[:2]
