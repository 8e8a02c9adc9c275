"""Which versions dense_ssl runs with, checked when it is imported.

The OpenMMLab packages exist twice: the original distributions and maintained
forks under other distribution names. Both are imported by the same names, so
everything here goes by import name and the module's own ``__version__``.
"""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from packaging.specifiers import SpecifierSet

from .errors import UserError

__all__ = [
    'OPTIONAL',
    'REQUIRED',
    'VersionError',
    'check_versions',
    'honour_runner_type',
    'register_config_paths',
    'require',
]

_SET_UP = (
    'Run `make setup` in the repository, or install what '
    'requirements/mmlab.txt and requirements/mmcv.txt name'
)

REQUIRED = {
    'torch': '>=2.0,<3',
    'mmengine': '>=0.10.0,<1.0',
    'mmcv': '>=2.0.0,<2.4',
    'mmpretrain': '>=1.2.0,<2.0',
}
OPTIONAL = {
    'mmdet': '>=3.2.0,<4.0',
    'mmseg': '>=1.2.0,<2.0',
}


class VersionError(UserError, ImportError):
    """A package is absent, or its version is outside the range wanted."""


def _remedy(name: str, wanted: str) -> str:
    if name == 'torch':
        return f'`pip install "torch{wanted}"` (tested: 2.11.0)'
    return f'{_SET_UP}; with the original OpenMMLab packages: `mim install "{name}{wanted}"`'


def require(name: str) -> ModuleType:
    """Import ``name`` and check its version.

    Args:
        name: An import name listed in ``REQUIRED`` or ``OPTIONAL``.

    Returns:
        The imported module.

    Raises:
        VersionError: Names the package, the version found (or that it is
            absent), the range wanted and how to mend it.
    """
    wanted = {**REQUIRED, **OPTIONAL}[name]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # present, but something it needs is not
            raise
        raise VersionError(
            f'dense_ssl needs {name} {wanted}, which is not installed. {_remedy(name, wanted)}.'
        ) from None
    found = str(module.__version__)
    # A local build tag such as +cu130 says nothing about compatibility.
    public = found.split('+')[0]
    if not SpecifierSet(wanted).contains(public, prereleases=True):
        raise VersionError(
            f'dense_ssl needs {name} {wanted}, found {found}. {_remedy(name, wanted)}.'
        )
    return module


def check_versions() -> None:
    """Check what every part of dense_ssl needs, lowest layer first.

    mmpretrain refuses an unsuitable mmcv with a bare assertion, so mmcv is
    looked at before it.

    Raises:
        VersionError: See :func:`require`.
    """
    for name in REQUIRED:
        require(name)


def _resolves_to(package: str, folder: Path) -> bool:
    from mmengine.utils import get_installed_path

    try:
        return Path(get_installed_path(package)).resolve() == folder
    except Exception:  # whatever a broken lookup raises, it did not resolve
        return False


def register_config_paths() -> None:
    """Let ``dense_ssl::...``, ``mmdet::...`` and ``mmseg::...`` resolve.

    mmengine looks a config path's package up by distribution name. That fails
    for a package installed under another distribution name (the forks) and,
    in older versions, for editable installs. Where it does, the table gets a
    sub-module's dotted name instead: no distribution is called so, and
    mmengine then falls back to the module's own location.
    """
    from mmengine.config import utils

    table = utils.MODULE2PACKAGE
    for name in ('dense_ssl', 'mmpretrain', 'mmdet', 'mmseg'):
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a stand-in module without a spec
            spec = None
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).resolve().parent
        for candidate in (table.get(name, name), name, f'{name}.version'):
            if _resolves_to(candidate, folder):
                table[name] = candidate
                break


def honour_runner_type() -> None:
    """Let ``Runner.from_cfg`` build the runner that a config asks for.

    mmengine's ``RUNNERS.build`` does, its own classmethod does not; what must hold for a run of
    ours would else depend on the script that starts it. A config in dense_ssl's scope that names
    no runner gets ours.
    """
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    plain = Runner.from_cfg.__func__

    def from_cfg(cls, cfg):
        ours = 'dense_ssl.DenseRunner' if cfg.get('default_scope') == 'dense_ssl' else 'Runner'
        wanted = cfg.get('runner_type', ours)
        kind = RUNNERS.get(wanted) if isinstance(wanted, str) else wanted
        if cls is Runner and kind not in (None, Runner):
            return kind.from_cfg(cfg)
        return plain(cls, cfg)

    from_cfg.__doc__ = plain.__doc__
    Runner.from_cfg = classmethod(from_cfg)
