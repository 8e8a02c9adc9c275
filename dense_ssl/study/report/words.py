"""How a report names and writes things."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Optional

from ..statistics import Difference, Setting, Spread

METHODS = {
    'random': 'random weights',
    'mocov2': 'MoCo v2',
    'densecl': 'DenseCL',
    'pixpro': 'PixPro',
    'pixcontrast': 'PixContrast',
    'mcl': 'MCL',
}
METRICS = {'probe_mIoU': 'mIoU', 'knn_mIoU': 'kNN mIoU'}


def is_file(start: str) -> bool:
    path = PurePath(start)
    return len(path.parts) > 1 or path.suffix in ('.pth', '.pt', '.safetensors', '.ckpt')


def start_names(starts: Sequence[str]) -> dict[str, str]:
    """What each start is called: a method, its variant, or a file's stem where that is unique."""
    names = {}
    for start in starts:
        method, _, variant = start.partition(':')
        known = ', '.join(filter(None, [METHODS.get(method, method), variant]))
        names[start] = PurePath(start).stem if is_file(start) else known
    common = Counter(names.values())
    return {start: name if common[name] == 1 else start for start, name in names.items()}


def metric_name(metric: str) -> str:
    return METRICS.get(metric, metric.replace('_', ' '))


def labels_name(labels: Optional[float]) -> str:
    if labels is None:
        return ''
    return 'all labels' if labels == 1 else f'{100 * labels:g} % of the labels'


def setting_name(setting: Setting) -> str:
    return ', '.join(filter(None, [setting.task, labels_name(setting.labels)]))


def number(value: float, digits: int = 2) -> str:
    return f'{value:.{digits}f}'.replace('-', '\N{MINUS SIGN}')


def signed(value: float, digits: int = 2) -> str:
    text = f'{value:+.{digits}f}'
    return text.lstrip('+-') if not float(text) else text.replace('-', '\N{MINUS SIGN}')


def spread_text(spread: Spread) -> str:
    return number(spread.mean) + (f' ± {number(spread.sd)}' if spread.sd is not None else '')


def difference_texts(difference: Optional[Difference]) -> tuple[str, str]:
    """A difference with its interval, and whether it is clear."""
    if difference is None:
        return '', ''
    mean = signed(difference.mean)
    if difference.half is None:
        return mean, 'one seed: no interval'
    low, high = (signed(difference.mean + side * difference.half) for side in (-1, 1))
    clear = 'yes*' if difference.clear_among_all else 'yes' if difference.clear else 'no'
    return f'{mean} [{low}, {high}]', clear


def short_difference(difference: Difference) -> str:
    """A difference in a sentence; two digits where one would hide it."""
    half = difference.half
    small = abs(difference.mean) < 1 or (half is not None and half < 0.1)
    digits = 2 if small else 1
    text = signed(difference.mean, digits)
    return text if half is None else f'{text} ± {number(half, digits)}'


def listed(words: Iterable[str]) -> str:
    """'a, b and c'."""
    *first, last = [*words] or ['']
    return f'{", ".join(first)} and {last}' if first else last


def counted(n: int, word: str) -> str:
    return f'{n} {word}' if n == 1 else f'{n} {word}s'
