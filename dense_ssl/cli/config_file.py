"""Read a config file, once the packages it builds on are known to be there."""

import ast
import difflib
import importlib.util
import os
import os.path as osp
from typing import Optional

import mmengine
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import is_installed

from dense_ssl.compat import OPTIONAL, REQUIRED, VersionError, require
from dense_ssl.errors import MissingFile

from .config_options import check_top_level

__all__ = ['load_config', 'require_packages']


def load_config(path: str) -> Config:
    """Read a config file, or ``package::relative/path.py``.

    Raises:
        MissingFile: Names the file and the closest one in its folder.
        UserError: A top-level key is a misspelt one of mmengine's.
        VersionError: The config, or a base of it, lies in a package that is
            absent or of a version outside the range wanted. Nothing is
            installed.
    """
    if '::' in path:
        from mmengine.hub import get_config

        _require(path.partition('::')[0], path)
        return _checked(get_config(path))
    if not osp.isfile(path):
        folder, name = osp.split(path)
        names = (
            [n for n in os.listdir(folder or '.') if n.endswith('.py')]
            if osp.isdir(folder or '.')
            else []
        )
        close = difflib.get_close_matches(name, names, n=1)
        hint = f' Did you mean {osp.join(folder, close[0])}?' if close else ''
        raise MissingFile(f'no config file {path}.{hint}')
    require_packages(path)
    return _checked(Config.fromfile(path))


def _checked(cfg: Config) -> Config:
    check_top_level(cfg)
    return cfg


def require_packages(path: str, seen: Optional[set[str]] = None) -> None:
    """Check the packages that ``_base_`` of a config and its bases name.

    Raises:
        VersionError: Names the package, the config and the remedy.
    """
    seen = set() if seen is None else seen
    path = osp.normpath(path)
    if path in seen or not osp.isfile(path):
        return  # an absent base is named by mmengine
    seen.add(path)
    for base in _bases(path):
        package, colons, _ = base.partition('::')
        if colons:
            _require(package, path)
        else:
            require_packages(osp.join(osp.dirname(path), base), seen)


def _require(package: str, path: str) -> None:
    """Import ``package``: mmengine would install a namesake with pip."""
    if package in REQUIRED or package in OPTIONAL:
        try:
            require(package)
        except VersionError as error:
            raise VersionError(f'config {path}: {error}') from None
    elif importlib.util.find_spec(package) is None:
        raise VersionError(
            f'config {path} builds on the package {package}, which is not '
            'installed: correct the name, or install the package.'
        )
    # The table may name a distribution that is not the one installed.
    if not is_installed(MODULE2PACKAGE.get(package, package)):
        raise VersionError(
            f'config {path}: mmengine does not find the installation of '
            f'{package}. Reinstall it with pip, or give the file by its path.'
        )


def _bases(path: str) -> list[str]:
    """What ``_base_`` of the file lists; syntax is left to mmengine."""
    found = []
    if path.endswith('.py'):
        try:
            with open(path, encoding='utf-8') as file:
                body = ast.parse(file.read()).body
            for node in body:
                if (
                    isinstance(node, ast.Assign)
                    and getattr(node.targets[0], 'id', None) == '_base_'
                ):
                    found = ast.literal_eval(node.value)
        except (SyntaxError, ValueError):
            return []
    elif path.endswith(('.json', '.yaml', '.yml')):
        try:
            found = mmengine.load(path).get('_base_', [])
        except Exception:  # whatever the parser raises, mmengine does again
            return []
    found = [found] if isinstance(found, str) else found
    return [base for base in found if isinstance(base, str)]
