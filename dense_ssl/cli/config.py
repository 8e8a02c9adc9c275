"""Read a config file, once the packages it builds on are known to be there."""

import ast
import difflib
import importlib.util
import inspect
import os
import os.path as osp
from typing import Optional

import mmengine
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config
from mmengine.runner import Runner
from mmengine.utils import is_installed

from dense_ssl.compat import OPTIONAL, REQUIRED, VersionError, require
from dense_ssl.errors import MissingFile, UserError
from dense_ssl.former import current_config
from dense_ssl.transfer.checkpoint import guard_mmengine

__all__ = ['TOP_LEVEL', 'load_config', 'require_packages']

# What mmengine reads from a config beside the arguments of Runner.
TOP_LEVEL = set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'runner_type', 'sync_bn', 'find_unused_parameters', 'model_wrapper_cfg',
    'activation_checkpointing', 'efficient_conv_bn_eval', 'compile', 'custom_imports',
    'tta_model', 'tta_pipeline', 'strategy', 'speed', 'non_finite', 'disk_full', 'overwrite',
}  # fmt: skip


def load_config(path: str) -> Config:
    """Read a config file, or ``package::relative/path.py``.

    Raises:
        MissingFile: Names the file and the closest one in its folder.
        UserError: The file is faulty, or a top-level key is a misspelt one of
            mmengine's.
        VersionError: The config, or a base of it, lies in a package that is
            absent or of a version outside the range wanted. Nothing is
            installed.
    """
    guard_mmengine()
    package, colons, _ = path.partition('::')
    if colons:
        _require(package, path)
    else:
        path = current_config(path)
        if not osp.isfile(path):
            raise MissingFile(f'no config file {path}.{_closest(path)}')
        require_packages(path)
    try:
        cfg = get_config(path) if colons else Config.fromfile(path)
    except Exception as error:  # whatever a config, being code, raises
        raise UserError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    _check_top_level(cfg)
    if cfg.get('default_scope') is None:  # new-style configs name classes
        kind = (cfg.get('model') or {}).get('type')
        scope = getattr(kind, '__module__', '').partition('.')[0]
        if scope in ('dense_ssl', 'mmpretrain', 'mmdet', 'mmseg'):
            cfg.default_scope = scope
    return cfg


def _closest(path: str) -> str:
    folder, name = osp.split(path)
    if not osp.isdir(folder or '.'):
        return ''
    names = [n for n in os.listdir(folder or '.') if n.endswith('.py')]
    close = difflib.get_close_matches(name, names, n=1)
    return f' Did you mean {osp.join(folder, close[0])}?' if close else ''


def _check_top_level(cfg: Config) -> None:
    """Raise UserError where a key is nearly one that mmengine reads.

    Configs may hold variables of any name, so only near misses are found.
    """
    for key in set(cfg) - TOP_LEVEL:
        close = difflib.get_close_matches(key, TOP_LEVEL, 1, 0.9)
        if close:
            raise UserError(
                f'{cfg.filename}: nothing reads the key {key}; {close[0]} is '
                'probably meant. If it is a variable, call it something less like it'
            )


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
