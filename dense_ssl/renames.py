"""Names of an earlier release, which are still understood, with a warning."""

import functools
import sys
import warnings
from typing import Any, Callable

__all__ = ['old_arguments', 'old_attributes']


def _warn(old: str, new: str) -> None:
    warnings.warn(f'{old} is now called {new}', DeprecationWarning, stacklevel=3)


def old_arguments(**names: str) -> Callable:
    """Decorate a function to take keyword arguments under old names, ``old='new'``, too."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def renaming(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                _warn(old, names[old])
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renaming

    return decorate


def old_attributes(module: str, **names: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module whose attributes had other names, ``old='new'``."""

    def getattribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        _warn(name, names[name])
        return getattr(sys.modules[module], names[name])

    return getattribute
