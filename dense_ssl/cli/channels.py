"""``--channels``: images of one band, or of many, in any config."""

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from dense_ssl.config_tree import dicts, type_name
from dense_ssl.datasets.survey import MEASURED, measure, sample
from dense_ssl.errors import UserError
from dense_ssl.finetune.bands import set_downstream_bands
from dense_ssl.registry import DATASETS

from .flags import SPLITS, is_unlabeled

__all__ = ['measure_bands', 'set_channels']


def set_channels(cfg: Config, channels: int) -> None:
    """Read, change and take in ``channels`` bands in place of RGB, in place.

    Mean and standard deviation of RGB do not fit them: :func:`measure_bands` sets others.
    """
    if not isinstance(channels, int) or channels < 1:
        raise UserError(f'--channels {channels}: give a number of bands, 1 or more.')
    if channels == 3:
        return
    if not (cfg.get('model') or {}).get('backbone'):
        raise UserError('--channels: this config has no model.backbone.')
    cfg.channels = channels
    cfg.model.backbone.in_channels = channels
    cfg.setdefault('data_preprocessor', ConfigDict())
    preprocessor = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    if len(preprocessor.get('mean') or ()) != channels:
        preprocessor.update(mean=None, std=None)
    for key in ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb'):
        if key in preprocessor:
            preprocessor[key] = False
    for node in dicts([cfg.get(f'{split}_dataloader') for split in SPLITS]):
        kind = type_name(node)
        if kind.endswith('LoadRGBImage'):
            node.channels = channels
        elif kind.endswith(('RandomColor', 'RandomColour')):
            for key in ('grey_prob', 'grayscale_prob'):
                node.pop(key, None)
            node.update(saturation=0.0, hue=0.0, grayscale_prob=0.0)
    if cfg.get('default_scope') != 'dense_ssl':
        set_downstream_bands(cfg, preprocessor)


def measure_bands(cfg: Config) -> None:
    """Set mean and standard deviation of a pre-training config with ``channels``, in place.

    Those that are given, by ``--cfg-options data_preprocessor.mean=...``, stay. Fine-tuning takes
    those of its checkpoint.
    """
    channels = cfg.get('channels', 3)
    if channels == 3 or cfg.get('default_scope') != 'dense_ssl' or not cfg.get('train_dataloader'):
        return
    preprocessor = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    given = [preprocessor.get(key) for key in ('mean', 'std')]
    if any(given):
        if [len(values or ()) for values in given] != [channels] * 2:
            raise UserError(
                f'data_preprocessor.mean and .std must have {channels} numbers each (--channels '
                f'{channels}), got {given[0]} and {given[1]}.'
            )
        return
    found = [node for node in dicts(cfg.train_dataloader) if is_unlabeled(node)]
    if len(found) != 1:
        raise UserError(
            f'--channels {channels}: give data_preprocessor.mean and .std of your images by '
            '--cfg-options; they are measured of one UnlabeledImages only.'
        )
    loading = dict(type='LoadRGBImage', channels=channels)
    source = dict(found[0], pipeline=[loading], verify=False, _scope_='dense_ssl')
    dataset = DATASETS.build(source)
    paths = [dataset.get_data_info(i)['img_path'] for i in sample(len(dataset), MEASURED)]
    mean, std = measure(paths, channels, dataset.pipeline.transforms[0].levels)
    preprocessor.update(mean=mean, std=std)
    print_log(f'{dataset.where}: mean {mean}, std {std} of {channels} bands', 'current')
