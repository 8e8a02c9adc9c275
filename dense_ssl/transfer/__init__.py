"""Pre-trained weights into other models, strictly.

Needs neither mmdet nor mmseg.
"""

from dense_ssl.errors import TransferError
from dense_ssl.former import old_attributes

from .checkpoint import Checkpoint, read_checkpoint
from .hook import HOOK_TYPE, PretrainedTransferHook, prepare_transfer
from .plan import plan_parts
from .report import PartReport, TransferReport
from .strict_loading import Part, Transfer, load_part, load_parts, match_parts

__all__ = [
    'Checkpoint',
    'read_checkpoint',
    'TransferError',
    'HOOK_TYPE',
    'PretrainedTransferHook',
    'prepare_transfer',
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
