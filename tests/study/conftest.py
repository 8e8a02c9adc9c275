"""Data of all tests of studies."""

import pytest

from dense_ssl.scenes import write_scenes


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the user's cache folder out of the tests."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


@pytest.fixture(scope='package')
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp('scenes') / 'data'
    return write_scenes(root, num_unlabelled=16, num_train=10, num_val=4, size=64)
