"""Walking over a config."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

__all__ = ['dicts', 'type_name', 'walk']


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


def type_name(node: dict) -> str:
    """The last name of its ``type``, which is a class in new-style configs; '' without one."""
    kind: Any = node.get('type', '')
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]
