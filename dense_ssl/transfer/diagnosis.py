"""Why a checkpoint does not fit: the mistakes people really make."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from .keys import below, count_heads, has_match, listed

_BLOCKS = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}


def resnet_depth(keys: Iterable[str]) -> Optional[int]:
    """Depth of the ResNet with these parameter names; ``None`` if unclear.

    The last stage may be absent (C4 models).
    """
    blocks: dict[int, int] = {}
    bottleneck = False
    for key in keys:
        found = re.match(r'layer([1-4])\.(\d+)\.', key)
        if found:
            stage, block = map(int, found.groups())
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
            bottleneck |= '.conv3.' in key
    counts = tuple(blocks.get(stage, 0) for stage in range(1, 5))
    for (is_bottleneck, full), depth in _BLOCKS.items():
        if is_bottleneck == bottleneck and (
            counts == full or (counts[3] == 0 and counts[:3] == full[:3])
        ):
            return depth
    return None


def prefixes_with(state_keys: Iterable[str], wanted: Sequence[str]) -> dict[str, int]:
    """Prefixes under which the file has some of the ``wanted`` names.

    Returns:
        Number of wanted names found by prefix, most first.
    """
    keys = set(state_keys)
    probes = [wanted[0], wanted[len(wanted) // 2]] if wanted else []
    candidates = {
        key[: -len(probe)]
        for probe in probes
        for key in keys
        if key == probe or key.endswith('.' + probe)
    }
    counts = {prefix: sum(prefix + name in keys for name in wanted) for prefix in candidates}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def likely_causes(
    source_prefix: str,
    target_prefix: str,
    state_dict: Mapping,
    target_state: Mapping,
    missing: Sequence[str],
    unexpected: Sequence[str],
) -> list[str]:
    """Sentences that name the likely mistake and its remedy."""
    source = below(state_dict, source_prefix)
    target = below(target_state, target_prefix)
    if not source.keys() & target.keys():
        return [_wrong_prefix(source_prefix, state_dict, list(target))]
    causes = []
    if has_match(missing, r'stem\.') and not has_match(source, r'stem\.'):
        causes.append(
            'the model has a deep stem (ResNetV1c/V1d), the checkpoint a '
            "plain one; set model.backbone.type='ResNet' and "
            'model.pretrained=None in the config.'
        )
    elif has_match(unexpected, r'stem\.') and not has_match(target, r'stem\.'):
        causes.append(
            'the checkpoint has a deep stem (ResNetV1c/V1d), the model a '
            "plain one; set model.backbone.type='ResNetV1c'."
        )
    depths = resnet_depth(source), resnet_depth(target)
    if None not in depths and depths[0] != depths[1]:
        causes.append(
            f'the checkpoint holds a ResNet-{depths[0]}, the model is a '
            f'ResNet-{depths[1]}; set model.backbone.depth={depths[0]} (with '
            'the in_channels of neck and heads), or take another checkpoint.'
        )
    elif has_match(unexpected, r'layer4\.') and not has_match(target, r'layer4\.'):
        causes.append(
            'the model stops at layer3 (a C4 detector whose shared head is '
            'absent?), the checkpoint goes on to layer4: C4 and FPN configs '
            'were mixed up.'
        )
    elif has_match(missing, r'layer4\.') and not has_match(source, r'layer4\.'):
        causes.append(
            'the checkpoint stops at layer3, the model needs layer4: C4 and '
            'FPN were mixed up, or the file is incomplete.'
        )
    if has_match(unexpected, r'.*\.bn\.') and not has_match(target, r'.*\.bn\.'):
        causes.append(
            'the checkpoint has batch normalisation in this part, the model '
            "has none; set norm_cfg=dict(type='BN') there."
        )
    elif has_match(missing, r'.*\.bn\.') and not has_match(source, r'.*\.bn\.'):
        causes.append(
            'the model has batch normalisation in this part, the checkpoint '
            'has none; set norm_cfg=None there.'
        )
    if not causes and missing and not unexpected:
        causes.append('the checkpoint is incomplete.')
    return causes


def _wrong_prefix(source_prefix: str, state_dict: Mapping, target: Sequence[str]) -> str:
    found = prefixes_with(state_dict, target)
    if found:
        names = ', '.join(
            f'"{prefix}" ({count} of {len(target)})' for prefix, count in list(found.items())[:4]
        )
        return (
            f'wrong prefix: nothing under "{source_prefix}" fits, but the '
            f'file has such names under {names}; give that prefix '
            '(--backbone-prefix, or backbone_prefix of the hook), or '
            'import the file first.'
        )
    return (
        'the file has nothing like this part under any prefix; its names begin with: '
        f'{listed(count_heads(state_dict, 2), 8)}.'
    )
