"""Images of one band, or of many, in mmdet's, mmseg's and mmpretrain's configs."""

from collections.abc import Mapping, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from dense_ssl.config_tree import dicts, type_name
from dense_ssl.datasets.image_reading import Levels
from dense_ssl.datasets.survey import measure

from .edits import SPLITS

__all__ = ['measure_downstream_bands', 'set_downstream_bands', 'take_normalization']

#: Those that take 1 or 3 means, and ours that take any number.
_PREPROCESSORS = {
    'DetDataPreprocessor': 'dense_ssl.finetune.mmdet_parts.BandsDetDataPreprocessor',
    'SegDataPreProcessor': 'dense_ssl.finetune.mmseg_parts.BandsSegDataPreProcessor',
}
#: Transforms that have a meaning for RGB alone.
_OF_RGB = {
    *('PhotoMetricDistortion', 'YOLOXHSVRandomAug', 'ColorJitter', 'RandomGrayscale', 'Lighting'),
    *('AutoAugment', 'RandAugment', 'ColorTransform', 'RGB2Gray', 'CLAHE'),
}


def set_downstream_bands(cfg: Config, preprocessor: ConfigDict) -> None:
    """What :func:`dense_ssl.cli.channels.set_channels` changes outside pre-training, in place."""
    if type_name(preprocessor) in _PREPROCESSORS:
        preprocessor.type = _PREPROCESSORS[type_name(preprocessor)]
    for node in dicts([cfg.get(f'{split}_dataloader') for split in SPLITS]):
        left_out = {type_name(t) for t in node.get('pipeline') or ()} & _OF_RGB
        if left_out:
            node.pipeline = [t for t in node.pipeline if type_name(t) not in left_out]
            print_log(f'{", ".join(sorted(left_out))} left out: made for RGB', 'current')


def take_normalization(cfg: Config, meta: Mapping) -> None:
    """Mean and standard deviation that a checkpoint was trained with, where none are given."""
    preprocessor, channels = _preprocessor(cfg), cfg.get('channels', 3)
    found = meta.get('normalization') or {}
    if channels != 3 and not preprocessor.get('mean') and len(found.get('mean', ())) == channels:
        preprocessor.update(found)
        print_log(f'Images are normalised as in pre-training: {found}', 'current')


def measure_downstream_bands(cfg: Config, paths: Sequence[str], levels: Levels, where: str) -> None:
    """Mean and standard deviation of images, where neither a checkpoint nor the user gave them."""
    preprocessor = _preprocessor(cfg)
    if not preprocessor.get('mean'):
        mean, std = measure(paths, cfg.channels, levels)
        preprocessor.update(mean=mean, std=std)
        print_log(f'{where} images: mean {mean}, std {std}', 'current')


def _preprocessor(cfg: Config) -> ConfigDict:
    return cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or ConfigDict()
