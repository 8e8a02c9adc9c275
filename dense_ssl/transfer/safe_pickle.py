"""What, besides tensors, may be unpickled from a checkpoint.

mmengine's training checkpoints carry the message hub: ``HistoryBuffer``
objects around numpy arrays; PixPro's, SoCo's and SlotCon's their command line
as a ``Namespace``. None is needed for transfer: a buffer is restored as the
:class:`History` of its numbers, the rest as empty shells, and the functions
pickled with them (``getattr(HistoryBuffer, 'mean')``) as ``None``.
"""

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

_core = getattr(np, '_core', None) or np.core


class _Shell:
    """Stands for an object whose content transfer does not need."""

    def __init__(self, *args, **kwargs) -> None:
        pass

    def __setstate__(self, state) -> None:
        pass


class History(_Shell):
    """What a ``HistoryBuffer`` holds.

    Attributes:
        values, counts (np.ndarray): (updates,) of a scalar, and what each weighs.
    """

    values = counts = np.zeros(0)

    def __setstate__(self, state) -> None:
        self.values = state.get('_log_history', self.values)
        self.counts = state.get('_count_history', self.counts)


def _no_attribute(*args) -> None:
    """Stands for ``getattr``, which must not be given to a foreign file."""


def _allowed() -> dict[str, Any]:
    """Object by the name that a pickle calls it."""
    names = {
        'builtins.getattr': _no_attribute,
        'builtins.slice': slice,
        'argparse.Namespace': _Shell,
        'mmengine.logging.history_buffer.HistoryBuffer': History,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for core in ('numpy.core', 'numpy._core'):
        for name in ('_reconstruct', 'scalar'):
            names[f'{core}.multiarray.{name}'] = getattr(_core.multiarray, name)
    for kind in (
        'bool',
        'uint8',
        'int32',
        'int64',
        'uint32',
        'uint64',
        'float16',
        'float32',
        'float64',
    ):
        dtype_class = type(np.dtype(kind))
        names[f'{dtype_class.__module__}.{dtype_class.__name__}'] = dtype_class
    return names


def safe_globals() -> list[Any]:
    """For ``torch.serialization.safe_globals`` (torch 2.5 and later)."""
    return [(value, name) for name, value in _allowed().items()]


class RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == '__builtin__':
            module = 'builtins'
        path = f'{module}.{name}'
        if path in _allowed():
            return _allowed()[path]
        is_tensor_part = (
            path in ('collections.OrderedDict', '_codecs.encode')
            or (module == 'torch._utils' and name.startswith('_rebuild_'))
            or (
                module == 'torch'
                and (
                    name.endswith('Storage')
                    or name in ('Size', 'device')
                    or isinstance(getattr(torch, name, None), torch.dtype)
                )
            )
            or path == 'torch.storage.UntypedStorage'
        )
        if is_tensor_part:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'Unsupported global: {path}')


def restricted_pickle_module() -> SimpleNamespace:
    """For ``torch.load(pickle_module=...)`` of older torch."""
    return SimpleNamespace(
        Unpickler=RestrictedUnpickler,
        load=lambda file, **kwargs: RestrictedUnpickler(file, **kwargs).load(),
        __name__='dense_ssl.transfer.safe_pickle',
    )
