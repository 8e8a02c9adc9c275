"""Checkpoints in and out: read without running their code, imported from and exported to other
frameworks, and loaded into other models part by part, every key or nothing at all.

Needs neither mmdet nor mmseg.
"""

from dense_ssl.errors import TransferError
from dense_ssl.former import old_attributes

from .checkpoint import Checkpoint, read_checkpoint
from .loading_report import PartReport, TransferReport
from .plan import parse_parts, plan_parts, prepare_transfer
from .strict_loading import Part, Transfer, load_part, load_parts, match_parts
from .transfer_hook import HOOK_TYPE, PretrainedTransferHook

__all__ = [
    'Checkpoint',
    'read_checkpoint',
    'TransferError',
    'HOOK_TYPE',
    'PretrainedTransferHook',
    'prepare_transfer',
    'parse_parts',
    'plan_parts',
    'PartReport',
    'TransferReport',
    'Part',
    'Transfer',
    'load_part',
    'load_parts',
    'match_parts',
]

__getattr__ = old_attributes(
    __name__, PreciseBatchNormHook='dense_ssl.finetune.PreciseBatchNormHook'
)
