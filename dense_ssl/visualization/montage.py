"""Pictures of the montages a config makes."""

import torch
from mmengine.config import Config
from torchvision.utils import make_grid

from dense_ssl.errors import UserError
from dense_ssl.models.montage_levels import MontageLevels
from dense_ssl.registry import DATASETS, MODELS


def montage_picture(
    cfg: Config, data_root: str, batch_size: int = 32, rows: int = 1
) -> torch.Tensor:
    """Montages of one batch, drawn at random, as the networks get them.

    Args:
        cfg (Config): An MCL config.
        data_root (str): Folder of images.
        batch_size (int): B, images drawn from the folder.
        rows (int): Pictures of each level and side, repeated where there are
            fewer.

    Returns:
        torch.Tensor: uint8 (3, H, W), a column for each level; the first
        ``rows`` rows of the first side, the others of the second.

    Raises:
        UserError: If the folder holds less than B images, or the config is
            none of MCL.
    """
    if 'ratios' not in cfg.model:
        raise UserError(
            f'model.type={cfg.model.type} makes no montages: use a config of configs/mcl'
        )
    dataset = cfg.train_dataloader.dataset
    dataset = DATASETS.build(dict(dataset, data_root=data_root, _scope_='dense_ssl'))
    if len(dataset) < batch_size:
        raise UserError(
            f'{data_root} holds {len(dataset)} images, the batch '
            f'is of {batch_size}: lower --batch-size'
        )
    levels = MontageLevels(cfg.model.ratios, cfg.model.shares, cfg.model.fpn_levels)
    chosen = torch.randperm(len(dataset))[:batch_size].tolist()
    items = [dataset[i] for i in chosen]
    views = [torch.stack(v) for v in zip(*(i['inputs'] for i in items))]
    # Colours may be left to the preprocessor; only normalising is not wanted.
    preprocessor = MODELS.build(
        dict(cfg.data_preprocessor, mean=None, std=None, _scope_='dense_ssl')
    )
    views = preprocessor(
        dict(inputs=views, data_samples=[i['data_samples'] for i in items]), training=True
    )['inputs']
    views = [v.round().clamp(0, 255).byte() for v in views]
    sides = [
        levels(views[start : start + len(levels)]) for start in range(0, len(views), len(levels))
    ]
    pictures = []
    for side in sides:
        per_level = side.images.split(side.counts)
        for row in range(rows):
            pictures += [images[row % len(images)] for images in per_level]
    return make_grid(pictures, nrow=len(levels), padding=6, pad_value=255)
