"""Dense self-supervised pre-training for OpenMMLab: DenseCL, PixPro, MCL.

``custom_imports=dict(imports=['dense_ssl'])`` in an mmengine config makes all
parts available; with ``default_scope='dense_ssl'`` mmpretrain's and mmengine's
parts are found by their plain names too.
"""

from .compat import (
    check_versions,
    honour_runner_type,
    register_config_paths,
)
from .former import redirect_former_names
from .version import __version__

check_versions()
register_config_paths()
redirect_former_names()
honour_runner_type()

from mmpretrain.utils import register_all_modules  # noqa: E402

# A registry looks in its parents' tables but does not fill them.
register_all_modules(init_default_scope=False)

from . import datasets, engine, models  # noqa: E402,F401  (register the parts)

__all__ = ['__version__']
