"""``--cfg-options``: read as key=value words, checked, merged into a config."""

import argparse
import difflib
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from dense_ssl.config_tree import walk
from dense_ssl.errors import UserError

from .config import TOP_LEVEL

__all__ = ['OptionAction', 'flatten', 'merge_options', 'names_a_path']

_PATHS = {'load_from', 'resume', 'img_path', 'seg_map_path', 'sub_data_root'}
_PATH_ENDINGS = ('data_root', '_file', '_dir', 'checkpoint')


def names_a_path(key: str) -> bool:
    """Whether the value of a dotted config key is one file or folder."""
    parts = key.lstrip('+').split('.')
    return parts[-1] in _PATHS or parts[-1].endswith(_PATH_ENDINGS) or 'data_prefix' in parts


class OptionAction(DictAction):
    """``key=value`` words as a dict.

    mmengine removes spaces from every value and splits it at commas and
    brackets, which a path may contain. Values of path keys stay verbatim,
    but for None, True and False, and one pair of quotes around the whole.
    """

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values:
            key, equals, text = word.partition('=')
            if not key or not equals:
                raise argparse.ArgumentError(self, f'{word!r} is not of the form key=value.')
            options[key] = self._read(key, text)
        setattr(namespace, self.dest, options)

    def _read(self, key: str, text: str):
        if names_a_path(key):
            if text[:1] in ('"', "'") and text[-1:] == text[:1] != text:
                text = text[1:-1]
            known = {'none': None, 'true': True, 'false': False}
            return known.get(text.lower(), text)
        try:
            return self._parse_iterable(text)
        except (RecursionError, AssertionError):
            raise argparse.ArgumentError(
                self,
                f'{key}={text}: brackets that neither balance nor enclose the whole value.',
            ) from None


def flatten(options: dict, prefix: str = '') -> dict[str, Any]:
    """``{'a': {'b': 1}, 'c.d': 2}`` as ``{'a.b': 1, 'c.d': 2}``."""
    flat = {}
    for key, value in options.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[prefix + key] = value
    return flat


def merge_options(cfg: Config, options: dict) -> None:
    """Override keys of ``cfg``, in place.

    mmengine would take any key, and a misspelt one would be ignored or fail
    late: here a key must exist, and a new one is written ``+key``.

    Raises:
        UserError: Names the key and the closest one that exists.
    """
    merged = {}
    for key, value in flatten(options).items():
        new = key.startswith('+')
        key = key[1:] if new else key
        _check(cfg, key, new)
        _open_sections(cfg, key)
        merged[key] = value
    cfg.merge_from_dict(merged)


def _check(cfg: Config, key: str, new: bool) -> None:
    """Refuse a key that does not exist, or is used up already."""
    top = key.split('.')[0]
    if top in cfg and top not in TOP_LEVEL:
        used = [p for p, _ in walk(cfg) if p.split('.')[-1] == top and p != top]
        raise UserError(
            f'--cfg-options {key}: {top} is a variable of the config file, '
            'already used up when options are merged, so this would change '
            f'nothing. Override {", ".join(used) or "the keys it set"}.'
        )
    node: Any = cfg
    path: list[str] = []
    for name in key.split('.'):
        where = '.'.join(path) or 'the config'
        if node is None:  # a section that is switched off: filled anew
            return
        if isinstance(node, (list, tuple)):
            if not name.isdigit() or int(name) >= len(node):
                raise UserError(
                    f'--cfg-options {key}: {where} is a list of {len(node)} '
                    f'entries, numbered from 0; there is no entry {name!r}.'
                )
            node = node[int(name)]
        elif not isinstance(node, (dict, Config)):
            raise UserError(f'--cfg-options {key}: {where} is {node!r}, which has no key {name!r}.')
        elif name in node:
            node = node[name]
        elif new:
            return
        else:
            raise UserError(
                f'--cfg-options {key}: {where} has no key {name!r}. '
                f'{_suggestion(cfg, key, name, node, path)}To add a key, write +{key}=...'
            )
        path.append(name)


def _suggestion(cfg: Config, key: str, name: str, node: dict, path: list) -> str:
    close = difflib.get_close_matches(name, list(node), n=1)
    elsewhere = [p for p, _ in walk(cfg) if p.split('.')[-1] == key.split('.')[-1]]
    rest = key.split('.')[len(path) + 1 :]
    if elsewhere and not (close and path):
        return f'Did you mean {elsewhere[0]}? '
    if close:
        return f'Did you mean {".".join([*path, close[0], *rest])}? '
    return f'It has {", ".join(map(str, node))}. '


def _open_sections(cfg: Config, key: str) -> None:
    """Make sections that are None empty: mmengine merges no keys into None."""
    node: Any = cfg
    for name in key.split('.')[:-1]:
        if isinstance(node, (list, tuple)):
            node = node[int(name)]
            continue
        if name in node and node[name] is None:
            node[name] = ConfigDict()
        node = node.get(name, {})
