"""Whether a checkpoint and a recipe fit, before anything is spent."""

import copy
from collections.abc import Sequence
from typing import Optional, Union

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope

from dense_ssl.transfer.checkpoint import Checkpoint
from dense_ssl.transfer.loading_report import TransferReport
from dense_ssl.transfer.plan import prepare_transfer

from .recipe_audit import Finding, inspect_recipe


def build_model(cfg: Config) -> BaseModel:
    """The model of a mmdet, mmseg or mmpretrain config, on CPU, not initialised."""
    scope = cfg.get('default_scope', 'mmengine')
    if scope in ('mmdet', 'mmseg'):
        from dense_ssl.compat import require

        require(scope)
    init_default_scope(scope)
    return MODELS.build(copy.deepcopy(cfg.model))


def check_transfer(
    cfg: Config,
    checkpoint: Optional[Checkpoint],
    parts: Union[str, Sequence[str]] = 'auto',
    network: str = 'online',
    backbone_prefix: Optional[str] = None,
    distributed: bool = True,
) -> tuple[Optional[TransferReport], list[Finding]]:
    """Build the model, match the checkpoint, look the recipe over.

    Args:
        cfg: A mmdet, mmseg or mmpretrain config.
        checkpoint: ``None`` for random weights.
        parts: See :func:`dense_ssl.transfer.plan_parts`; the same for the
            next two.
        distributed: Whether several processes will train.

    Returns:
        What would be filled from where, and remarks on the recipe.

    Raises:
        TransferError: The checkpoint does not fit; the message has the diff.
    """
    model = build_model(cfg)
    report = None
    if checkpoint is not None:
        report = prepare_transfer(model, checkpoint, parts, network, backbone_prefix).report
    findings = inspect_recipe(cfg, model, distributed)
    if checkpoint is not None and report is not None:
        filled = {part.name for part in report.parts}
        has_fpn = any(key.startswith('neck.lateral_convs.') for key in checkpoint.state_dict)
        if has_fpn and 'res5' in filled:
            findings.append(
                Finding(
                    'the checkpoint has a pre-trained FPN, the model is a C4 '
                    'detector: the FPN stays unused.',
                    False,
                )
            )
        elif has_fpn and getattr(model, 'neck', None) and ('neck' not in filled):
            findings.append(
                Finding(
                    'the checkpoint has a pre-trained FPN and the model an FPN, '
                    'but it is not filled: leave --parts out.',
                    costs=parts == 'auto',
                )
            )  # else it was asked for
    return report, findings
