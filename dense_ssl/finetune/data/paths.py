"""Whether the data that a config names are there, before anything starts."""

import os.path as osp

from mmengine.config import Config, ConfigDict

from dense_ssl.config_tree import dicts
from dense_ssl.errors import TransferError

from ..edits import for_each_dataset

_REMEDY = (
    'put a link there, give your own data by --coco-ann/--coco-images '
    'or --seg-data, or change {key} by --cfg-options.'
)


def check_data_exist(cfg: Config) -> None:
    """Look for every annotation file and folder of the data sets.

    Those of wrapped and joined data sets too; remote paths are left to
    mmengine.

    Raises:
        TransferError: Names the first path that is absent.
    """

    def check_all(split: str, dataset: ConfigDict) -> None:
        for node in dicts(dataset):
            if 'type' in node and ('ann_file' in node or 'data_prefix' in node):
                check(split, node)

    def check(split: str, dataset: ConfigDict) -> None:
        root = dataset.get('data_root') or ''
        paths = {'ann_file': dataset.get('ann_file')}
        prefix = dataset.get('data_prefix') or {}
        if isinstance(prefix, str):  # mmpretrain
            prefix = dict(img_path=prefix)
        paths.update({f'data_prefix.{name}': value for name, value in prefix.items()})
        for name, path in paths.items():
            if not isinstance(path, str) or not path or ('://' in root + path):
                continue
            path = osp.join(root, path)
            if not osp.exists(path):
                key = f'{split}_dataloader.dataset.{name}'
                raise TransferError(f'{path} does not exist ({key}): ' + _REMEDY.format(key=key))

    for_each_dataset(cfg, check_all)
