"""Where the optional data of the tests lies; a test skips without it."""

import os
from pathlib import Path

import pytest


def shared_folder(name: str) -> Path:
    """Folder ``name`` of the shared material, or skip the calling test.

    Looked for under ``$DENSE_SSL_SHARED``, then in ``shared/`` beside the
    repository.
    """
    repository = Path(__file__).resolve().parents[1]
    root = os.environ.get('DENSE_SSL_SHARED') or repository.parent / 'shared'
    folder = Path(root) / name
    if not folder.is_dir():
        pytest.skip(f'{folder} is not here (set DENSE_SSL_SHARED)')
    return folder


def shared_data() -> Path:
    """Small real data sets (``data/``)."""
    return shared_folder('data')


def shared_fixtures() -> Path:
    """Numbers obtained from the released implementations (``fixtures/``)."""
    return shared_folder('fixtures')
