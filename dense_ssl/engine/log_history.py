"""The scalars that mmengine keeps of every step, in memory and in each checkpoint."""

from mmengine.logging import HistoryBuffer, MessageHub

from dense_ssl.transfer.safe_pickle import History

__all__ = ['KEPT', 'bound_history', 'restore_history']

#: Steps. All of them would be 16 bytes a scalar and step, copied at each: 180 MB and 20 ms a step
#: after a million, for ten scalars.
KEPT = 10_000


def bound_history(hub: MessageHub, epoch: int = 0) -> None:
    """Let each scalar keep the newest ``KEPT`` values, or those of an epoch, which logs average."""
    for scalar in hub.log_scalars.values():
        scalar.max_length = max(KEPT, epoch)
        if len(scalar._log_history) > scalar.max_length:
            scalar._log_history = scalar._log_history[-scalar.max_length :]
            scalar._count_history = scalar._count_history[-scalar.max_length :]


def restore_history(content: dict) -> None:
    """Make mmengine's buffers of what a checkpoint was read into, in place."""
    scalars = (content.get('message_hub') or {}).get('log_scalars') or {}
    for name, scalar in scalars.items():
        if isinstance(scalar, History):
            scalars[name] = HistoryBuffer(scalar.values, scalar.counts)
