"""Picking parts of a checkpoint and writing them by other names."""

import json
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Union

import torch
from torch import Tensor

from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically
from dense_ssl.version import __version__

from ..checkpoint import Checkpoint
from ..importers.completeness import check_backbone, describe_backbone, resnet_shapes
from ..importers.layouts import TIMM_STEM
from ..keys import below, check_network, has_prefix

#: Parts and the names of their weights in our checkpoints.
PARTS = {'backbone': 'backbone.', 'neck': 'neck.', 'head': 'region_head.convs.'}
#: Parts that each format has a place for.
FORMATS: dict[str, tuple[str, ...]] = {
    'mmdet': ('backbone', 'neck', 'head'),
    'mmseg': ('backbone',),
    'torchvision': ('backbone',),
    'timm': ('backbone',),
    'detectron2': ('backbone', 'neck', 'head'),
    'safetensors': ('backbone', 'neck', 'head'),
}


@dataclass
class Export:
    """Weights under the names of ``format``, and what to say of them.

    ``weights`` of the format ``detectron2`` keep our names: the writer
    renames them.
    """

    format: str
    weights: dict[str, Tensor]
    meta: dict


def export_weights(
    checkpoint: Checkpoint,
    format: str,
    network: str = 'online',
    parts: Union[str, Sequence[str], None] = 'auto',
) -> Export:
    """Pick one network's parts and rename them.

    Args:
        checkpoint: One of ours.
        format: A key of :data:`FORMATS`.
        network: ``'online'`` or ``'momentum'``.
        parts: Names out of :data:`PARTS`, or ``'auto'``: all that both the
            file and the format have.

    Raises:
        TransferError: Something asked for is not there, or has no place in
            the format; an incomplete backbone.
    """
    if format not in FORMATS:
        raise TransferError(f'no format {format!r}; known are {", ".join(FORMATS)}.')
    weights = _network(checkpoint, network)
    parts = _parts(checkpoint.path, weights, format, parts)
    picked = {
        key: value
        for part in parts
        for key, value in weights.items()
        if key.startswith(PARTS[part])
    }
    meta = _provenance(checkpoint, network, parts)
    if 'backbone' in parts:
        meta['backbone'] = check_backbone(picked, 'backbone.', checkpoint.path)
        _fill_counters(picked)
    _refuse_deep_stem(picked, format, checkpoint.path)
    return Export(format, _rename(picked, format), meta)


def save_export(export: Export, path: str) -> None:
    """Write the file in the form its framework loads.

    The weights lie under ``state_dict`` (detectron2: ``model``), where they
    come from under ``meta``.

    Raises:
        TransferError: The file cannot be written, or a package is missing.
    """
    try:
        if export.format == 'detectron2':
            from ..detectron2_file import write_detectron2

            write_detectron2(export.weights, export.meta, path)
        elif export.format == 'safetensors':
            from ..safetensors_file import write_safetensors

            write_safetensors(export.weights, {'dense_ssl': json.dumps(export.meta)}, path)
        else:
            content = dict(state_dict=export.weights, meta=export.meta)
            write_atomically(path, partial(torch.save, content))
    except (OSError, RuntimeError) as error:
        raise TransferError(f'{path} cannot be written: {error}') from error


def _network(checkpoint: Checkpoint, network: str) -> dict[str, Tensor]:
    check_network(network)
    root = 'momentum_encoder.' if network == 'momentum' else ''
    weights = below(checkpoint.state_dict, root)
    if not has_prefix(weights, 'backbone.'):
        raise TransferError(
            f'{checkpoint.path} has no {root}backbone.*: '
            + (
                'it holds the online network only.'
                if root
                else 'bring it into our names by tools/convert/import_checkpoint.py first.'
            )
        )
    return weights


def _parts(
    path: str, weights: Mapping, format: str, parts: Union[str, Sequence[str], None]
) -> list[str]:
    possible = FORMATS[format]
    there = [part for part, prefix in PARTS.items() if has_prefix(weights, prefix)]
    if parts is None or parts == 'auto':
        return [part for part in there if part in possible]
    # Training calls the part by the name of its network.
    parts = ['head' if part == 'region_head' else part for part in parts]
    for part in parts:
        if part not in PARTS:
            raise TransferError(f'no part {part!r}; known are {", ".join(PARTS)}.')
        if part not in possible:
            raise TransferError(f'{format} has no place for the {part}.')
        if part not in there:
            raise TransferError(f'{path} has no {part} ({PARTS[part]}*).')
    return [part for part in PARTS if part in parts]


def _fill_counters(weights: dict[str, Tensor]) -> None:
    """Add the counters that files of old torch versions lack.

    The networks they go into want every key; the counters do not enter the
    result.
    """
    for key in resnet_shapes(**describe_backbone(below(weights, 'backbone.'))):
        if key.endswith('num_batches_tracked'):
            weights.setdefault(f'backbone.{key}', torch.tensor(0))


def _refuse_deep_stem(weights: Mapping, format: str, path: str) -> None:
    if format in ('torchvision', 'detectron2') and has_prefix(weights, 'backbone.stem.'):
        raise TransferError(f"{path} has a deep stem, which {format}'s ResNets have not.")


def _rename(weights: dict[str, Tensor], format: str) -> dict[str, Tensor]:
    if format == 'mmdet':
        return {
            key.replace('region_head.convs.', 'roi_head.bbox_head.shared_convs.'): value
            for key, value in weights.items()
        }
    if format in ('torchvision', 'timm'):
        weights = below(weights, 'backbone.')
    if format == 'timm' and has_prefix(weights, 'stem.'):
        return {_timm_deep(key): value for key, value in weights.items()}
    return weights


def _timm_deep(key: str) -> str:
    """mmpretrain's deep stem and pooled shortcuts by timm's names."""
    names = [(f'stem.{ours}.', f'conv1.{timm}.') for timm, ours in TIMM_STEM]
    names += [('stem.2.bn.', 'bn1.')]
    names += [(f'layer1.0.downsample.{i}.', f'layer1.0.downsample.{i + 1}.') for i in (0, 1)]
    for ours, timm in names:
        if key.startswith(ours):
            return timm + key[len(ours) :]
    return key


def _provenance(checkpoint: Checkpoint, network: str, parts: list[str]) -> dict:
    kept = {
        key: value
        for key, value in checkpoint.meta.items()
        if isinstance(value, (str, int, float, dict, list, bool))
        and key not in ('cfg', 'dataset_meta', 'hook_msgs')
    }
    return dict(
        exported_by=f'dense_ssl {__version__}',
        source=osp.basename(checkpoint.path),
        network=network,
        parts=list(parts),
        pretraining=kept,
    )
