"""Walking over a config."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

__all__ = ['dicts', 'walk']


def walk(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every dict, list and value of a config with its dotted path, outermost first."""
    yield path, node
    children: list[tuple[Any, Any]] = []
    if isinstance(node, (dict, Config)):
        children = list(node.items())
    elif isinstance(node, (list, tuple)):
        children = list(enumerate(node))
    for key, child in children:
        yield from walk(child, f'{path}.{key}' if path else str(key))


def dicts(node: Any) -> Iterator[ConfigDict]:
    """Every dict of a config, outermost first."""
    return (part for _, part in walk(node) if isinstance(part, dict))
