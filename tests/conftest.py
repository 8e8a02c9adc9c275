"""What holds for every test."""

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def no_default_scope():
    """Start without the default scope that another test's runner left."""
    DefaultScope._instance_dict.clear()
    yield
