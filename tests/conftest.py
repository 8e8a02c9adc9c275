"""What holds for every test."""

import gc

import pytest
from mmengine.registry import DefaultScope


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
