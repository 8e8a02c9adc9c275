"""What holds for every test."""

import functools
import gc

import pytest
from mmengine.config import utils as config_files
from mmengine.registry import DefaultScope

# A `mmdet::` base has mmengine read every metafile of mmdet: a second, each time.
config_files.load = functools.lru_cache(maxsize=None)(config_files.load)


def pytest_collection_finish():
    """Spare mmengine's data sets, which collect garbage, all that the imports left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def unformatted_configs(monkeypatch):
    """Have a runner dump its config as it is: formatting it takes longer than two steps."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **options: (text, True))


@pytest.fixture(autouse=True)
def no_default_scope():
    """Start without the default scope that another test's runner left."""
    DefaultScope._instance_dict.clear()
    yield
