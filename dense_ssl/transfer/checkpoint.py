"""Reading a checkpoint file without running code from it."""

import pickle
import re
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Union
from unittest.mock import patch

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from dense_ssl.errors import TransferError

from .safe_pickle import restricted_pickle_module, safe_globals

#: Where the weights lie in the files of the frameworks we know.
WEIGHT_KEYS = ('state_dict', 'model')
_torch_load = torch.load


@dataclass
class Checkpoint:
    """Weights of a file, by name, and what it says of itself.

    Attributes:
        path: The file it came from.
        state_dict: Tensors by name, on CPU.
        meta: The file's ``meta`` dict; empty when it has none.
    """

    path: str
    state_dict: dict[str, Tensor]
    meta: dict = field(default_factory=dict)


def read_checkpoint(path: Union[str, Path], trust: bool = False) -> Checkpoint:
    """Read the weights of a training checkpoint.

    Only tensors, plain Python values and the few harmless classes an mmengine
    training checkpoint holds are unpickled: no code of the file is run.

    Args:
        path: A file written by ``torch.save``: a dict with the weights under
            ``state_dict`` or ``model``, or the weights themselves.
        trust: Unpickle everything instead: code of the file is run.

    Raises:
        TransferError: The file is missing, is no checkpoint, holds no weights,
            or holds objects that only running its code could restore.
    """
    path = Path(path)
    content = read_file(path, trust)
    state_dict = _find_weights(path, content)
    if state_dict and all(key.startswith('module.') for key in state_dict):
        # Saved from inside a (Distributed)DataParallel wrapper.
        state_dict = {key[len('module.') :]: value for key, value in state_dict.items()}
    meta = content.get('meta')
    return Checkpoint(str(path), state_dict, meta if isinstance(meta, dict) else {})


def read_file(path: Union[str, Path], trust: bool = False):
    """Whatever ``torch.save`` wrote into a file, read as safely.

    Raises:
        TransferError: The file is missing, is no checkpoint, or holds objects
            that only running its code could restore.
    """
    path = Path(path)
    if path.is_dir():
        raise TransferError(
            f'{path} is a folder, a checkpoint file is needed: name the .pth file in it.'
        )
    if not path.is_file():
        raise TransferError(
            f'checkpoint {path} does not exist. Pre-training writes its '
            'checkpoints into its --work-dir, as epoch_N.pth or iter_N.pth.'
        )
    if not trust:
        _verify(path)
    return _load(path, trust)


def _verify(path: Path) -> None:
    """Raise where a byte was changed since it was written; torch itself does not look."""
    if not zipfile.is_zipfile(path):
        return  # of before torch 1.6, without checksums
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise TransferError(_no_checkpoint(path, error)) from error
    if damaged:
        raise TransferError(
            f'{path} is damaged: the checksum of {damaged} in it is wrong. Take an earlier '
            'checkpoint, or copy it again.'
        )


def guard_mmengine() -> None:
    """Let mmengine read checkpoints as safely, wherever they lie; for this process.

    Its own reader, of ``load_from`` and ``init_cfg`` alike, runs a file's code where weights
    alone do not do.
    """
    plain = CheckpointLoader.load_checkpoint.__func__
    if plain.__module__ == __name__:
        return

    def load_checkpoint(cls, filename, map_location=None, logger='current'):
        if '://' not in str(filename):
            return read_file(Path(filename).expanduser())
        with patch('torch.load', _read_fetched):
            return plain(cls, filename, map_location, logger)

    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)


def _read_fetched(file, *args, **kwargs):
    """In place of ``torch.load``, of a path or an open file."""
    if isinstance(file, (str, Path)):
        return read_file(file)
    with NamedTemporaryFile(suffix='.pth') as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        return read_file(copy.name)


def _load(path: Path, trust: bool):
    try:
        if trust:
            return _torch_load(path, map_location='cpu', weights_only=False)
        if hasattr(torch.serialization, 'safe_globals'):
            with torch.serialization.safe_globals(safe_globals()):
                return _torch_load(path, map_location='cpu', weights_only=True)
        # Before torch 2.5 weights_only cannot be taught more classes.
        return _torch_load(
            path, map_location='cpu', weights_only=False, pickle_module=restricted_pickle_module()
        )
    except pickle.UnpicklingError as error:
        if 'global' not in str(error).lower():
            raise TransferError(_no_checkpoint(path, error)) from error
        named = re.search(r'(?:GLOBAL|global:) ([\w.]+)', str(error))
        reason = named.group(1) if named else str(error)[:200]
        raise TransferError(
            f'{path} was not loaded: it holds Python objects besides weights, '
            f'and restoring those would run code of the file ({reason}). '
            'Where you trust its origin, write a file with the weights alone '
            '(tools/convert/import_checkpoint.py --trust does so).'
        ) from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        AssertionError,
        IndexError,
        TypeError,
        OSError,
        ImportError,
    ) as error:
        raise TransferError(_no_checkpoint(path, error)) from error


def _no_checkpoint(path: Path, error: Exception) -> str:
    reason = (str(error).splitlines() or [''])[0].split('. ')[0]
    if len(reason) < 5:
        reason = type(error).__name__
    return (
        f'{path} ({path.stat().st_size} bytes) is no PyTorch checkpoint, '
        f'or it is damaged: {reason[:200]}'
    )


def _join_networks(content: dict) -> dict:
    """VISSL's trunk and heads, or DINO's student and teacher, as one dict; others as they are."""
    inner = content.get('classy_state_dict')
    if isinstance(inner, dict):
        content = inner
        for key in ('base_model', 'model'):
            content = content[key] if isinstance(content.get(key), dict) else content
    for names in (('trunk', 'heads'), ('student', 'teacher')):
        if all(isinstance(content.get(name), dict) for name in names):
            return {
                f'{name}.{str(key).removeprefix("module.")}': value
                for name in names
                for key, value in content[name].items()
            }
    return content


def _find_weights(path: Path, content) -> dict[str, Tensor]:
    """The mapping from names to tensors inside ``content``."""
    if not isinstance(content, dict):
        raise TransferError(f'{path} holds a {type(content).__name__}, not a dict of weights.')
    content = _join_networks(content)
    for key in WEIGHT_KEYS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    tensors = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise TransferError(
            f'{path} holds no weights: its top-level keys are '
            f'{sorted(map(str, content))[:10]}, and none of '
            f'{list(WEIGHT_KEYS)} is a dict of tensors.'
        )
    return tensors
