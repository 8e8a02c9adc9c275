"""detectron2's names for weights, and its pickle of numpy arrays.

Published in detectron2's own converters
(``tools/convert-torchvision-to-d2.py``,
``detectron2/checkpoint/c2_model_loading.py``): the backbone as ``stem.conv1``,
``res2``...; the FPN as ``fpn_lateral2``, ``fpn_output2``...; box-head
convolutions as ``box_head.conv1``.... The key ``matching_heuristics`` lets
detectron2 match names by their endings, so that one file fills FPN
(``backbone.bottom_up.res2``) and C4 models (``backbone.res2``,
``roi_heads.res5``).
"""

import pickle
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically

from .safe_pickle import RestrictedUnpickler


def to_detectron2(key: str, first_level: int = 2) -> str:
    """The name that ``key`` (ours) has in detectron2.

    Args:
        key: Ours.
        first_level: Of the FPN: 2 if it begins with P2, 3 with P3.

    Raises:
        TransferError: detectron2 has no such weight.
    """
    part, _, name = key.partition('.')
    if part == 'backbone' and not name.startswith('stem.'):
        if name.startswith('layer'):
            name = re.sub(r'^layer(\d)', lambda m: f'res{int(m[1]) + 1}', name)
            name = re.sub(r'\.bn(\d)\.', r'.conv\1.norm.', name)
            name = re.sub(r'\.downsample\.0\.', '.shortcut.', name)
            return re.sub(r'\.downsample\.1\.', '.shortcut.norm.', name)
        return 'stem.' + re.sub(r'^bn1\.', 'conv1.norm.', name)
    found = re.match(r'neck\.(lateral|fpn)_convs\.(\d+)\.(conv|bn)\.(\w+)$', key)
    if found:
        kind = 'lateral' if found[1] == 'lateral' else 'output'
        norm = '.norm' if found[3] == 'bn' else ''
        level = int(found[2]) + first_level
        if level > 5:
            raise TransferError(
                f'{key} makes P{level}, with a norm that detectron2 has not '
                'there: export without the neck (--parts backbone).'
            )
        return f'fpn_{kind}{level}{norm}.{found[4]}'
    found = re.match(r'region_head\.convs\.(\d+)\.(conv|bn)\.(\w+)$', key)
    if found:
        norm = '.norm' if found[2] == 'bn' else ''
        return f'box_head.conv{int(found[1]) + 1}{norm}.{found[3]}'
    raise TransferError(f'detectron2 has no place for {key}.')


def from_detectron2(key: str, first_level: int = 2) -> str:
    """The inverse of :func:`to_detectron2`; other names stay as they are."""
    name = re.sub(r'^(backbone\.)?(bottom_up\.)?(?=stem\.|res\d)', '', key)
    if name.startswith('stem.conv1.norm.'):
        return 'backbone.bn1.' + name[len('stem.conv1.norm.') :]
    if name.startswith('stem.'):
        return 'backbone.' + name[len('stem.') :]
    if re.match(r'res[2-5]\.', name):
        name = re.sub(r'^res(\d)', lambda m: f'layer{int(m[1]) - 1}', name)
        name = re.sub(r'\.conv(\d)\.norm\.', r'.bn\1.', name)
        name = name.replace('.shortcut.norm.', '.downsample.1.')
        return 'backbone.' + name.replace('.shortcut.', '.downsample.0.')
    found = re.match(r'(?:backbone\.)?fpn_(lateral|output)(\d)(\.norm)?\.(\w+)$', key)
    if found:
        kind = 'lateral' if found[1] == 'lateral' else 'fpn'
        layer = 'bn' if found[3] else 'conv'
        index = int(found[2]) - first_level
        return f'neck.{kind}_convs.{index}.{layer}.{found[4]}'
    found = re.match(r'(?:roi_heads\.)?box_head\.conv(\d)(\.norm)?\.(\w+)$', key)
    if found:
        layer = 'bn' if found[2] else 'conv'
        return f'region_head.convs.{int(found[1]) - 1}.{layer}.{found[3]}'
    return key


def write_detectron2(weights: Mapping[str, Tensor], meta: dict, path: str) -> None:
    """Write weights of ours; counters of batches have no place there."""
    laterals = {key.split('.')[2] for key in weights if key.startswith('neck.lateral_convs.')}
    # The coarsest lateral reads C5, whatever the FPN begins with.
    first = 6 - (len(laterals) or 4)
    model = {
        to_detectron2(key, first): value.detach().cpu().numpy()
        for key, value in weights.items()
        if not key.endswith('num_batches_tracked')
    }
    content = dict(model=model, __author__='dense_ssl', matching_heuristics=True, meta=meta)
    # Protocol 3 names classes in plain text. numpy 2's name for its core is
    # unknown to numpy 1, which detectron2 is mostly used with; numpy 2 knows
    # the old one.
    data = pickle.dumps(content, protocol=3).replace(
        b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n'
    )
    write_atomically(path, data)


def read_detectron2(path: str) -> tuple[dict[str, Tensor], dict]:
    """Weights by our names, and the file's meta; runs no code of the file.

    Raises:
        TransferError: No such file, or more than arrays in it.
    """
    try:
        with open(path, 'rb') as file:
            content = RestrictedUnpickler(file, encoding='latin1').load()
        arrays = content['model']
        levels = [
            int(found[1])
            for found in (re.match(r'(?:backbone\.)?fpn_lateral(\d)', key) for key in arrays)
            if found
        ]
        first = min(levels, default=2)
        weights = {
            from_detectron2(key, first): torch.from_numpy(np.array(value))
            for key, value in arrays.items()
            if isinstance(value, np.ndarray)
        }
    except (
        OSError,
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise TransferError(
            f'{path} is no detectron2 file, a pickle of numpy arrays under "model": {error}'
        ) from error
    meta = content.get('meta')
    return weights, meta if isinstance(meta, dict) else {}
