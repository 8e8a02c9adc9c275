"""Whether a checkpoint holds a whole ResNet."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from dense_ssl.errors import TransferError

from ..diagnosis import resnet_depth
from ..keys import below


def describe_backbone(keys) -> dict:
    """Depth, deep stem and pooled shortcuts of a ResNet by its names."""
    keys = set(keys)
    return dict(
        depth=resnet_depth(keys),
        deep_stem=any(key.startswith('stem.') for key in keys),
        avg_down=any('.downsample.2.' in key for key in keys),
    )


@cache
def resnet_shapes(
    depth: int,
    deep_stem: bool = False,
    avg_down: bool = False,
    base_channels: int = 64,
    stem_channels: int = 64,
) -> dict[str, torch.Size]:
    """Shapes of mmpretrain's ResNet by name."""
    from mmpretrain.models import ResNet

    with torch.random.fork_rng(devices=[]):  # leaves the caller's alone
        model = ResNet(
            depth,
            deep_stem=deep_stem,
            avg_down=avg_down,
            base_channels=base_channels,
            stem_channels=stem_channels,
        )
    return {key: value.shape for key, value in model.state_dict().items()}


def check_backbone(state_dict: Mapping[str, Tensor], prefix: str, path: str) -> str:
    """Check that ``prefix`` holds a ResNet, whole and nothing else.

    Counters of batches may be absent: files older than torch 0.4.1.

    Returns:
        What it is, e.g. ``'ResNet-50'``.

    Raises:
        TransferError: With the keys in question.
    """
    found = below(state_dict, prefix)
    kind = describe_backbone(found)
    if kind['depth'] is None:
        raise TransferError(
            f'{path}: {prefix}* is no ResNet of a known depth (18, 34, 50, '
            f'101, 152), or incomplete; it has {len(found)} tensors, e.g. '
            f'{", ".join(sorted(found)[:4]) or "none"}.'
        )
    # A narrow network is whole, too; all other widths follow from its first block's.
    first = found.get('layer1.0.conv1.weight', torch.empty(64, 64))
    widths = dict(zip(('base_channels', 'stem_channels'), first.shape))
    expected = resnet_shapes(**kind, **widths)
    missing = [
        key for key in expected if key not in found and not key.endswith('num_batches_tracked')
    ]
    extra = [key for key in found if key not in expected]
    shapes = [
        f'{key} {tuple(found[key].shape)} instead of {tuple(shape)}'
        for key, shape in expected.items()
        if key in found and found[key].shape != shape
    ]
    words = f'ResNet-{kind["depth"]}' + (' with deep stem' if kind['deep_stem'] else '')
    for title, keys in (('missing', missing), ('foreign', extra), ('of another shape', shapes)):
        if keys:
            raise TransferError(
                f'{path}: {prefix}* looks like {words}, but {len(keys)} '
                f'tensors are {title}: {", ".join(keys[:5])}.'
            )
    return words
