"""What makes tests with many configs bearable."""

from functools import lru_cache

import pytest
from mmengine.config import utils


@pytest.fixture(autouse=True, scope='package')
def quick_configs():
    """Read a package's list of configs once; leave logged configs unformatted.

    Each costs a test seconds: mmengine reads all of mmdet's metafiles for one
    base, and formats the whole config each time it is logged or written.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, '_get_cfg_metainfo', lru_cache(None)(utils._get_cfg_metainfo))
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **kwargs: (text, True))
        yield
