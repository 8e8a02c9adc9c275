"""Which parts of a downstream model a pre-training checkpoint fills."""
from typing import List, Mapping, Optional, Sequence, Union

from torch import nn

from .errors import TransferError
from .strict_loading import Part

PARTS = ('backbone', 'neck', 'region_head')

_SHARED_HEAD = 'roi_head.shared_head.layer4.'
_SHARED_CONVS = 'roi_head.bbox_head.shared_convs.'


def plan_parts(target: nn.Module,
               state_dict: Mapping,
               parts: Union[str, Sequence[str]] = 'auto',
               network: str = 'online',
               backbone_prefix: Optional[str] = None) -> List[Part]:
    """Name the parts to fill; whether they fit is for ``match_parts``.

    The backbone is always filled (its ``layer4`` goes to the shared head of a
    C4 detector). With ``parts='auto'``, an FPN goes to an FPN and the convs
    of a region head to the shared convs of a ``Shared4Conv1FCBBoxHead`` when
    both sides have them.

    Args:
        target: The downstream model.
        state_dict: The checkpoint's weights.
        parts: ``'auto'``, or names out of :data:`PARTS`.
        network: ``'online'`` or ``'momentum'``.
        backbone_prefix: Where the backbone lies in the file, when it is not
            one of ours, e.g. ``'encoder_q.0.'`` or ``''`` for bare names.

    Raises:
        TransferError: An unknown word, or a file without a momentum copy.
    """
    root = _root(state_dict, network)
    wanted = PARTS if parts == 'auto' else _names(parts)
    source = f'{root}backbone.' if backbone_prefix is None else backbone_prefix
    target_keys = target.state_dict().keys()

    plan = [Part(source, 'backbone.', 'backbone')]
    if _has(target_keys, _SHARED_HEAD):
        plan.append(Part(f'{source}layer4.', _SHARED_HEAD, 'res5'))
    for name, head, prefix, target_prefix in (
            ('neck', f'{root}neck.lateral_convs.', f'{root}neck.', 'neck.'),
            ('region_head', f'{root}region_head.convs.',
             f'{root}region_head.convs.', _SHARED_CONVS)):
        possible = _has(state_dict, head) and _has(
            target_keys, target_prefix + head[len(prefix):])
        # A part asked for by name is kept, so that its absence is an error.
        if name in wanted and (possible or parts != 'auto'):
            plan.append(Part(prefix, target_prefix, name))
    return plan


def _root(state_dict: Mapping, network: str) -> str:
    if network == 'online':
        return ''
    if network != 'momentum':
        raise TransferError(
            f"network must be 'online' or 'momentum', got {network!r}.")
    for root in ('momentum_encoder.', 'momentum_encoder.module.'):
        if _has(state_dict, f'{root}backbone.'):
            return root
    raise TransferError(
        'network="momentum" was asked for, but the checkpoint has no '
        '"momentum_encoder.backbone.*"; use network="online".')


def _names(parts: Union[str, Sequence[str]]) -> Sequence[str]:
    names = [parts] if isinstance(parts, str) else list(parts)
    unknown = set(names) - set(PARTS)
    if unknown or 'backbone' not in names:
        raise TransferError(
            f"parts must be 'auto' or names out of {list(PARTS)}, the "
            f'backbone among them; got {parts!r}.')
    return names


def _has(keys, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)
