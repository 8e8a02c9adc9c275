"""``--cfg-options`` of the tools: mmengine's, with paths left as they are."""

import argparse

from mmengine.config import DictAction

__all__ = ['OptionAction', 'names_a_path']

_NAMES = {'load_from', 'resume', 'img_path', 'seg_map_path', 'sub_data_root'}
_ENDINGS = ('data_root', '_file', '_dir', 'checkpoint')


def names_a_path(key: str) -> bool:
    """Whether the value of a dotted config key is one file or folder."""
    parts = key.split('.')
    return parts[-1] in _NAMES or parts[-1].endswith(_ENDINGS) or 'data_prefix' in parts


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
                self, f'{key}={text}: brackets that neither balance nor enclose the whole value.'
            ) from None
