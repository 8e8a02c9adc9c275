"""Foreign checkpoints into this project's names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

import torch
from torch import Tensor

from dense_ssl.errors import TransferError

from ..keys import check_network, count_heads, has_prefix, listed
from .completeness import check_backbone
from .layouts import LAYOUTS, Layout


@dataclass
class Imported:
    """A converted checkpoint.

    Attributes:
        layout: Name of the layout it was recognised as.
        state_dict: Weights by this project's names.
        backbone: What the backbone is, in words.
        networks: Networks in the file, out of 'online' and 'momentum'.
        not_used: Keys left out, counted by their first name.
        notes: What a user should know.
    """

    layout: str
    state_dict: dict[str, Tensor]
    backbone: str
    networks: list[str]
    not_used: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def recognise(state_dict: Mapping[str, Tensor], path: str = 'the file') -> Layout:
    """The one layout whose names these are.

    Raises:
        TransferError: None or several fit; the message says what was seen.
    """
    found = [layout for layout in LAYOUTS if layout.matches(state_dict)]
    if len(found) == 1:
        return found[0]
    seen = listed(count_heads(state_dict, 2), 10)
    known = ', '.join(layout.name for layout in LAYOUTS)
    if not found:
        raise TransferError(
            f'{path} is of no known layout ({known}). Its names begin with: '
            f'{seen}. If a ResNet lies in it under some prefix, transfer it '
            'directly by --backbone-prefix.'
        )
    names = ' or '.join(f'{layout.title} ({layout.name})' for layout in found)
    raise TransferError(
        f'{path} is ambiguous, it could be {names}. Its names begin with: '
        f'{seen}. Say which by --layout.'
    )


def import_weights(
    state_dict: Mapping[str, Tensor],
    layout: Optional[str] = None,
    network: Optional[str] = None,
    path: str = 'the file',
) -> Imported:
    """Convert weights of another code base into this project's names.

    Args:
        state_dict: Tensors by name, ``module.`` stripped.
        layout: A layout's name; recognised by the keys when not given.
        network: ``'momentum'`` puts the momentum copy's backbone into
            ``backbone.*`` and leaves everything else out. By default both
            networks are kept apart, under their own names.
        path: For messages.

    Raises:
        TransferError: Unknown or ambiguous names, keys foreign to the layout,
            contradictory copies of one tensor, or an incomplete backbone.
    """
    chosen = _layout(layout) if layout else recognise(state_dict, path)
    weights: dict[str, Tensor] = {}
    dropped, strange = [], []
    for key, tensor in state_dict.items():
        new = _rename(chosen, key)
        if new is None:
            strange.append(key)
        elif new == '':
            dropped.append(key)
        elif new in weights and not torch.equal(weights[new], tensor):
            raise TransferError(
                f'{path}: two different tensors for {new} (the second is '
                f'{key}): the file contradicts itself.'
            )
        else:
            weights[new] = tensor
    if strange:
        raise TransferError(
            f'{path} looks like {chosen.title}, but {len(strange)} of its '
            f'keys do not belong to that: {", ".join(strange[:6])}.'
        )
    if chosen.name != 'dense_ssl':  # ours are right already
        _fit_queues(weights)
    notes = [chosen.note] if chosen.note else []
    weights = _choose_network(weights, network, notes, path)
    backbone = check_backbone(weights, 'backbone.', path)
    networks = ['online']
    if has_prefix(weights, 'momentum_encoder.backbone.'):
        check_backbone(weights, 'momentum_encoder.backbone.', path)
        networks.append('momentum')
    return Imported(chosen.name, weights, backbone, networks, dict(count_heads(dropped)), notes)


def _layout(name: str) -> Layout:
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise TransferError(
        f'no layout {name!r}; known are {", ".join(layout.name for layout in LAYOUTS)}.'
    )


def _rename(layout: Layout, key: str) -> Optional[str]:
    """The new name, '' for a key to leave out, None for a strange one."""
    for pattern, new in layout.rules:
        found = re.match(pattern, key)
        if found:
            if new is None:
                return ''
            return found.expand(new) + key[found.end() :]
    return None


def _fit_queues(weights: dict[str, Tensor]) -> None:
    """(D, K) and a pointer into (K, D) and a count of keys written."""
    for queue in ('queue', 'dense_queue'):
        keys = weights.get(f'{queue}.features')
        if keys is None:
            weights.pop(f'{queue}.written', None)
            continue
        keys = keys.t().contiguous()
        pointer = weights.get(f'{queue}.written', torch.zeros(1))
        weights[f'{queue}.features'] = keys
        # A queue that has been trained with is full.
        weights[f'{queue}.written'] = torch.tensor(
            len(keys) + int(pointer.reshape(-1)[0]) % len(keys)
        )


def _choose_network(
    weights: dict[str, Tensor], network: Optional[str], notes: list[str], path: str
) -> dict[str, Tensor]:
    if network is not None:
        check_network(network)
    root = 'momentum_encoder.backbone.'
    momentum = {
        key[len('momentum_encoder.') :]: value
        for key, value in weights.items()
        if key.startswith(root)
    }
    has_online = has_prefix(weights, 'backbone.')
    if network == 'momentum' or (network is None and not has_online):
        if not momentum:
            raise TransferError(
                f'{path} has no momentum network, only an online one.'
                if has_online
                else f'{path} has no backbone.'
            )
        if not has_online:
            notes.append('the file has the momentum network only; it became backbone.*')
        return momentum
    if network == 'online':
        return {
            key: value for key, value in weights.items() if not key.startswith('momentum_encoder.')
        }
    return weights
