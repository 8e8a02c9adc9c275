"""Names of weights: below a prefix, of a pattern, counted by how they begin."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Optional, TypeVar

from dense_ssl.errors import TransferError

Value = TypeVar('Value')

#: The networks of a method: the trained one and its moving average.
NETWORKS = ('online', 'momentum')


def check_network(network: str) -> None:
    """Raise a TransferError unless ``network`` is one of :data:`NETWORKS`."""
    if network not in NETWORKS:
        raise TransferError(f"network must be 'online' or 'momentum', got {network!r}.")


def below(state: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    """What lies under ``prefix``, by the rest of its name."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def has_prefix(keys: Iterable[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


def has_match(keys: Iterable[str], pattern: str) -> bool:
    """Whether some key begins as the regular expression says."""
    return any(re.match(pattern, key) for key in keys)


def count_heads(keys: Iterable[str], depth: int = 1) -> Counter:
    """Number of keys by their first ``depth`` names, e.g. ``'backbone.*'``."""
    split = (key.split('.') for key in keys)
    return Counter(
        '.'.join(names[:depth] + ['*'] if len(names) > depth else names) for names in split
    )


def listed(counts: Mapping[str, int], most: Optional[int] = None) -> str:
    """``'a (3), b (1)'``; with ``most``, so many of the largest."""
    shown = counts.items() if most is None else Counter(counts).most_common(most)
    return ', '.join(f'{name} ({count:,})' for name, count in shown)
