"""Labels that a config names itself, checked as those that flags name."""

import os.path as osp
from contextlib import suppress
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, DefaultScope

from dense_ssl.config_tree import dicts
from dense_ssl.errors import UserError

from ..edits import SPLITS
from .coco import check_named_annotations
from .label_maps import check_named_maps

__all__ = ['check_named_labels']


def check_named_labels(cfg: Config) -> None:
    """Check the COCO annotations and label maps of all splits, in place.

    What mmdet and pycocotools would count differently is changed in a copy, which data sets and
    evaluators then read. Data that are not there are left to
    :func:`~dense_ssl.finetune.data.paths.check_data_exist`, remote ones to mmengine.

    Raises:
        TransferError: Names the file and what is wrong with it.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        _check(cfg)


def _check(cfg: Config) -> None:
    seen: dict[str, Any] = {}
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        for node in dicts(loader.dataset if loader else None):
            kind = node.get('type')
            if isinstance(kind, str):
                with (
                    suppress(UserError),  # a sampler, a transform
                    DATASETS.switch_scope_and_registry(None) as registry,
                ):
                    kind = registry.get(kind)
            names = {base.__name__ for base in getattr(kind, '__mro__', ())}
            if 'CocoPanopticDataset' in names or '://' in str(node):
                continue
            if names & {'CocoDataset', 'BaseSegDataset'}:
                check = _check_coco if 'CocoDataset' in names else check_named_maps
                key = repr((node.get('data_root'), node.get('ann_file'), node.get('data_prefix')))
                if key not in seen:
                    seen[key] = check(cfg, split, node)
                if seen[key]:
                    node.ann_file = seen[key]


def _check_coco(cfg: Config, split: str, node: ConfigDict) -> str:
    """The annotation file to read in place of the given one; '' for the same."""
    root = node.get('data_root') or ''
    path = osp.join(root, node.get('ann_file') or '')
    images = osp.join(root, (node.get('data_prefix') or {}).get('img') or '')
    if not (osp.isfile(path) and osp.isdir(images)):
        return ''
    may_be_bare = split != 'train' or not (node.get('filter_cfg') or {}).get('filter_empty_gt')
    copy = check_named_annotations(cfg, split, path, images, may_be_bare)
    for name in ('val_evaluator', 'test_evaluator') if copy else ():
        for evaluator in dicts(cfg.get(name)):
            if evaluator.get('ann_file') and osp.abspath(evaluator.ann_file) == osp.abspath(path):
                evaluator.ann_file = copy
    return copy
