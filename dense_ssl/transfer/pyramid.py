"""FPN levels and towers of pre-training against those of a detector.

Pre-training and detector may start their FPN at different levels: MCL's goes
from P2 to P5, FCOS's from P3 to P7. Both end their laterals at C5, which
aligns them.
"""

import re
from collections.abc import Iterable

from .strict_loading import Part


def module_indices(keys: Iterable[str], prefix: str) -> set[int]:
    """Numbers that follow ``prefix`` in ``keys``."""
    pattern = re.compile(re.escape(prefix) + r'(\d+)\.')
    return {int(m[1]) for m in map(pattern.match, keys) if m}


def neck_parts(
    source_keys: Iterable[str], target_keys: Iterable[str], source: str, target: str = 'neck.'
) -> list[Part]:
    """Parts that fill an FPN, level by level where the levels differ.

    Every lateral of the target must have a counterpart; output convolutions
    of levels that pre-training did not have (P6, P7) stay as initialised,
    and so do source levels without a counterpart. With the same levels, or
    with a source that starts too coarse, it is one part as a whole, and
    strict loading says what is missing.

    Args:
        source_keys, target_keys: Names in the checkpoint and in the model.
        source, target: Prefixes of the FPN, with the final dot.
    """
    source_keys, target_keys = list(source_keys), list(target_keys)

    def count(keys, name):
        return len(module_indices(keys, name))

    laterals = count(target_keys, f'{target}lateral_convs.')
    outputs = count(target_keys, f'{target}fpn_convs.')
    have = count(source_keys, f'{source}fpn_convs.')
    shift = count(source_keys, f'{source}lateral_convs.') - laterals
    if shift < 0 or (shift == 0 and outputs == have):
        return [Part(source, target, 'neck')]
    pairs = [('lateral_convs', i) for i in range(laterals)]
    pairs += [('fpn_convs', i) for i in range(min(outputs, have - shift))]
    return [
        Part(f'{source}{name}.{i + shift}.', f'{target}{name}.{i}.', 'neck') for name, i in pairs
    ]


def tower_parts(
    source_keys: Iterable[str], target_keys: Iterable[str], source: str, target: str = 'bbox_head.'
) -> list[Part]:
    """Parts that fill the towers of a dense detector, conv by conv.

    Pre-training through the first convolutions of a tower (PixPro, sec. 3.4)
    leaves the detector's last ones as initialised.
    """
    source_keys, target_keys = list(source_keys), list(target_keys)
    return [
        Part(f'{source}{name}.{i}.', f'{target}{name}.{i}.', 'tower')
        for name in ('cls_convs', 'reg_convs')
        for i in sorted(
            module_indices(source_keys, f'{source}{name}.')
            & module_indices(target_keys, f'{target}{name}.')
        )
    ]
