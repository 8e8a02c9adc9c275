"""Registries of dense_ssl, scope ``dense_ssl``.

Each one is a child of mmpretrain's registry of the same name, so a lookup that
fails here falls through to mmpretrain and then to mmengine. Parts of other
packages are reached by prefix, e.g. ``mmdet.FPN``.
"""

import difflib
from collections.abc import Iterator
from typing import Optional

from mmengine.registry import Registry
from mmengine.utils import get_object_from_string
from mmpretrain import registry as parent

from dense_ssl.errors import UserError

__all__ = [
    'DATASETS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'RUNNERS',
    'TRANSFORMS',
]


class _Registry(Registry):
    """A registry that names what is nearest to a name that it does not find."""

    def get(self, key: str) -> Optional[type]:
        try:
            found = super().get(key)
        except RuntimeError:
            found = None
        # From other scopes `dense_ssl.finetune.X`, a whole path, comes as `finetune.X`.
        found = found or get_object_from_string(f'dense_ssl.{key}')
        if found is not None:
            return found
        names = {name for registry in self._line() for name in registry.module_dict}
        close = difflib.get_close_matches(key.rpartition('.')[2], sorted(names), n=3, cutoff=0.5)
        meant = f'did you mean {" or ".join(close)}?' if close else 'see custom_imports'
        raise UserError(f"type='{key}': there is no such {self.name}; {meant}")

    def _line(self) -> Iterator[Registry]:
        registry: Optional[Registry] = self
        while registry is not None:
            yield registry
            registry = registry.parent


def _child(name: str, location: Optional[str] = None) -> Registry:
    """A registry under mmpretrain's ``name``, filled by ``dense_ssl.location``."""
    registry = getattr(parent, name)
    child = _Registry(
        registry.name,
        parent=registry,
        scope='dense_ssl',
        locations=[f'dense_ssl.{location}'] if location else [],
    )
    # From other scopes mmengine looks for a prefix among the root's own
    # children only: without this, `dense_ssl.DenseCL` would be found from
    # mmpretrain's scope, but not from mmengine's or mmdet's.
    registry._get_root_registry()._children.setdefault('dense_ssl', child)
    return child


MODELS = _child('MODELS', 'models')
DATASETS = _child('DATASETS', 'datasets')
TRANSFORMS = _child('TRANSFORMS', 'datasets')
RUNNERS = _child('RUNNERS', 'engine')
HOOKS = _child('HOOKS', 'engine')
LOOPS = _child('LOOPS', 'engine')
OPTIMIZERS = _child('OPTIMIZERS', 'engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'engine')
METRICS = _child('METRICS', 'finetune')
# Empty, or from our scope mmengine would not find what mmpretrain has of the kind.
for _name in set(parent.__all__) - set(__all__):
    _child(_name)
