"""A benchmark's config file, and ``--cfg-options`` merged into it."""

import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from dense_ssl.cli.clean_errors import user_error
from dense_ssl.cli.config_file import load_config as read_config
from dense_ssl.cli.config_options import check_options, flatten, open_sections
from dense_ssl.errors import TransferError
from dense_ssl.finetune.edits import SPLITS


@contextmanager
def as_transfer_error() -> Iterator[None]:
    """Turn what dense_ssl's own checks raise into a TransferError."""
    try:
        yield
    except TransferError:
        raise
    except (ValueError, OSError) as error:
        message = user_error(error)
        if message is None:
            raise
        raise TransferError(message) from error


def load_config(path: str) -> Config:
    """Read a config, by file or inside a package (``mmdet::...``).

    Raises:
        TransferError: The file is absent or faulty, or its package is.
    """
    try:
        return read_config(path)
    except Exception as error:  # whatever a config, being code, raises
        raise TransferError(
            user_error(error) or f'config {path} cannot be read: {type(error).__name__}: {error}'
        ) from error


def merge_options(cfg: Config, options: dict) -> None:
    """Merge ``--cfg-options`` into ``cfg``, in place.

    ``data_root`` retargets the data sets of all splits and the evaluators'
    annotation files; more special keys win over it.

    Raises:
        TransferError: A key that nothing would read, a ``data_root`` that
            no data set would follow.
    """
    options = flatten(options)
    scope = cfg.get('default_scope') or 'dense_ssl'
    with as_transfer_error(), DefaultScope.overwrite_default_scope(scope):
        check_options(cfg, {k: v for k, v in options.items() if k != 'data_root'})
    if 'data_root' in options:
        retarget_data(cfg, str(options.pop('data_root')))
    open_sections(cfg, options)
    cfg.merge_from_dict(options)


def retarget_data(cfg: Config, root: str) -> None:
    """Replace the config's ``data_root`` wherever a data path begins with it.

    A config without this variable has it in its training data set.

    Raises:
        TransferError: No path of a split's data set does.
    """
    old = cfg.get('data_root') or (cfg.get('train_dataloader') or {}).get('dataset', {}).get(
        'data_root'
    )
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader and not (isinstance(old, str) and old and _replace(loader, old, root)):
            raise TransferError(
                f'--cfg-options data_root: the data set of {split} does not '
                'follow it. Give your own data by --coco-ann, --seg-data or '
                f'--image-folder, or set {split}_dataloader.dataset.… keys.'
            )
    for split in SPLITS:
        if cfg.get(f'{split}_evaluator'):
            _replace(cfg[f'{split}_evaluator'], old, root)


def _replace(node: Any, old: str, new: str) -> int:
    """How many strings below ``node`` were moved from ``old`` to ``new``."""
    moved = 0
    items = (
        list(node.items())
        if isinstance(node, dict)
        else (list(enumerate(node)) if isinstance(node, list) else [])
    )
    base = old.rstrip('/')
    for key, value in items:
        if isinstance(value, str):
            if value.rstrip('/') == base or value.startswith(base + '/'):
                node[key] = osp.join(new, value[len(base) :].lstrip('/'))
                moved += 1
        else:
            moved += _replace(value, old, new)
    return moved
