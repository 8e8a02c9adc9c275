"""From a foreign file to one of this project's checkpoints."""

import hashlib
import os.path as osp
from functools import partial
from typing import Optional

import torch

from dense_ssl.errors import TransferError
from dense_ssl.files import write_atomically
from dense_ssl.version import __version__

from ..checkpoint import Checkpoint, read_checkpoint
from .convert import Imported, import_weights


def import_file(
    path: str, layout: Optional[str] = None, network: Optional[str] = None, trust: bool = False
) -> Imported:
    """Read and convert a file; see :func:`import_weights`.

    Args:
        path: ``.pth``, ``.pt``, ``.tar``, ``.pkl`` or ``.safetensors``.
        trust: Unpickle whatever the file holds, which runs its code.
    """
    checkpoint = read_any(path, trust)
    return import_weights(checkpoint.state_dict, layout, network, str(path))


def read_any(path: str, trust: bool = False) -> Checkpoint:
    """:func:`read_checkpoint`, and safetensors and detectron2 files."""
    if str(path).endswith('.safetensors'):
        from ..safetensors_file import read_safetensors

        return Checkpoint(str(path), *read_safetensors(path))
    if str(path).endswith('.pkl'):
        from ..detectron2_file import read_detectron2

        return Checkpoint(str(path), *read_detectron2(path))
    return read_checkpoint(path, trust)


def save_import(imported: Imported, source: str, path: str) -> None:
    """Write the converted checkpoint, with where it came from.

    Raises:
        TransferError: ``path`` is ``source``, or cannot be written.
    """
    if osp.exists(path) and osp.samefile(path, source):
        raise TransferError(f'{path} would overwrite the file it comes from.')
    meta = dict(
        dense_ssl_version=__version__,
        imported=dict(
            layout=imported.layout,
            source=osp.basename(source),
            sha256=file_hash(source),
            backbone=imported.backbone,
            networks=imported.networks,
            not_used=imported.not_used,
        ),
    )
    try:
        content = dict(state_dict=imported.state_dict, meta=meta)
        write_atomically(path, partial(torch.save, content))
    except (OSError, RuntimeError) as error:
        raise TransferError(f'{path} cannot be written: {error}') from error


def file_hash(path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
