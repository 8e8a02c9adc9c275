"""Which parts of a downstream model a pre-training checkpoint fills."""

from collections.abc import Mapping, Sequence
from typing import Optional, Union

from torch import nn

from dense_ssl.errors import TransferError

from .checkpoint import Checkpoint
from .keys import check_network, has_prefix
from .pyramid import neck_parts, tower_parts
from .strict_loading import Part, Transfer, match_parts

PARTS = ('backbone', 'neck', 'region_head', 'tower')

_SHARED_HEAD = 'roi_head.shared_head.layer4.'
_SHARED_CONVS = 'roi_head.bbox_head.shared_convs.'


def parse_parts(text: str) -> Union[str, list[str]]:
    """``'auto'``, or names with commas between, as command lines take them.

    Raises:
        TransferError: There is no name.
    """
    names = [name.strip() for name in text.split(',') if name.strip()]
    if not names:
        raise TransferError(f"parts are 'auto' or names with commas between, got {text!r}.")
    return 'auto' if names == ['auto'] else names


def plan_parts(
    target: nn.Module,
    state_dict: Mapping,
    parts: Union[str, Sequence[str]] = 'auto',
    network: str = 'online',
    backbone_prefix: Optional[str] = None,
) -> list[Part]:
    """Name the parts to fill; whether they fit is for ``match_parts``.

    The backbone is always filled (its ``layer4`` goes to the shared head of a
    C4 detector). With ``parts='auto'``, an FPN goes to an FPN (level by level,
    see :mod:`.pyramid`), the convs of a region head to the shared convs of a
    ``Shared4Conv1FCBBoxHead`` and towers to those of FCOS or RetinaNet, when
    both sides have them.

    Args:
        target: The downstream model.
        state_dict: The checkpoint's weights.
        parts: ``'auto'``, or names out of :data:`PARTS`, also as one text.
        network: ``'online'`` or ``'momentum'``.
        backbone_prefix: Where the backbone lies in the file, when it is not
            one of ours, e.g. ``'encoder_q.0.'`` or ``''`` for bare names.

    Raises:
        TransferError: An unknown word, a file without a momentum copy, or a
            part asked for by name that one side does not have.
    """
    root = _root(state_dict, network)
    parts = parse_parts(parts) if isinstance(parts, str) else parts
    wanted = PARTS if parts == 'auto' else _checked(parts)
    source = f'{root}backbone.' if backbone_prefix is None else backbone_prefix
    target_keys = target.state_dict().keys()

    plan = [Part(source, 'backbone.', 'backbone')]
    if has_prefix(target_keys, _SHARED_HEAD):
        plan.append(Part(f'{source}layer4.', _SHARED_HEAD, 'res5'))
    # name: what the file must have, what the model must have, how they meet
    further = dict(
        neck=(
            'neck.lateral_convs.',
            'neck.lateral_convs.',
            neck_parts(state_dict, target_keys, f'{root}neck.'),
        ),
        region_head=(
            'region_head.convs.',
            _SHARED_CONVS,
            [Part(f'{root}region_head.convs.', _SHARED_CONVS, 'region_head')],
        ),
        tower=(
            'tower.cls_convs.',
            'bbox_head.cls_convs.',
            tower_parts(state_dict, target_keys, f'{root}tower.'),
        ),
    )
    for name, (source_head, target_head, found) in further.items():
        possible = has_prefix(target_keys, target_head)
        possible &= has_prefix(state_dict, root + source_head)
        if name in wanted and possible:
            plan += found
        elif name in wanted and parts != 'auto':
            raise TransferError(
                f'part {name!r} was asked for, but the checkpoint has no '
                f'"{root}{source_head}*", or the model no "{target_head}*".'
            )
    return plan


def prepare_transfer(
    model: nn.Module,
    checkpoint: Checkpoint,
    parts: Union[str, Sequence[str]] = 'auto',
    network: str = 'online',
    backbone_prefix: Optional[str] = None,
) -> Transfer:
    """Plan and check a transfer into ``model``; nothing is written yet.

    Raises:
        TransferError: The checkpoint does not fit; the message has the diff.
    """
    plan = plan_parts(model, checkpoint.state_dict, parts, network, backbone_prefix)
    try:
        return match_parts(model, checkpoint.state_dict, plan)
    except TransferError as error:
        raise TransferError(f'{checkpoint.path} -> {type(model).__name__}: {error}') from error


def _root(state_dict: Mapping, network: str) -> str:
    check_network(network)
    if network == 'online':
        return ''
    for root in ('momentum_encoder.', 'momentum_encoder.module.'):
        if has_prefix(state_dict, f'{root}backbone.'):
            return root
    raise TransferError(
        'network="momentum" was asked for, but the checkpoint has no '
        '"momentum_encoder.backbone.*"; use network="online".'
    )


def _checked(parts: Sequence[str]) -> Sequence[str]:
    if set(parts) - set(PARTS) or 'backbone' not in parts:
        raise TransferError(
            f"parts must be 'auto' or names out of {list(PARTS)}, the "
            f'backbone among them; got {parts!r}.'
        )
    return parts
