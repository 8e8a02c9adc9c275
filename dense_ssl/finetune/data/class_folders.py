"""A user's own classified images, one folder a class, in a config."""

import os
from pathlib import Path

from mmengine.config import Config

from dense_ssl.datasets.image_listing import EXTENSIONS
from dense_ssl.errors import TransferError

from ..edits import for_each_dataset


def use_image_folder(cfg: Config, root: str) -> None:
    """Point a mmpretrain classification config at ``root``.

    Args:
        cfg: Changed in place; the classes are the names of the folders.
        root: ``{train,val}/CLASS/*.jpg``.

    Raises:
        TransferError: Names the folder and the remedy.
    """
    classes = _classes(Path(root) / 'train')
    if _classes(Path(root) / 'val') != classes:
        raise TransferError(f'{root}/val has other class folders than {root}/train.')
    cfg.model.head.num_classes = len(classes)
    cfg.model.head.topk = (1, min(5, len(classes)))

    def point(split, dataset):
        pipeline = dataset.pipeline
        dataset.clear()
        dataset.update(
            type='CustomDataset',
            data_root=os.path.abspath(root),
            data_prefix='train' if split == 'train' else 'val',
            classes=classes,
            extensions=EXTENSIONS,
            pipeline=pipeline,
        )

    for_each_dataset(cfg, point)
    for name in ('val_evaluator', 'test_evaluator'):
        cfg[name].topk = (1, min(5, len(classes)))


def _classes(folder: Path) -> list:
    if not folder.is_dir():
        raise TransferError(
            f'{folder} does not exist: --image-folder wants train/CLASS/*.jpg and val/CLASS/*.jpg.'
        )
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(found) < 2:
        raise TransferError(f'{folder} has {len(found)} class folders, two or more are needed.')
    for name in found:
        if not any(path.suffix.lower() in EXTENSIONS for path in (folder / name).rglob('*')):
            raise TransferError(f'{folder / name} has no images.')
    return found
