"""Registries of dense_ssl, scope ``dense_ssl``.

Each one is a child of mmpretrain's registry of the same name, so a lookup that
fails here falls through to mmpretrain and then to mmengine. Parts of other
packages are reached by prefix, e.g. ``mmdet.FPN``.
"""
from mmengine.registry import Registry
from mmpretrain import registry as parent

__all__ = [
    'MODELS', 'DATASETS', 'TRANSFORMS', 'HOOKS', 'OPTIMIZERS',
    'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS',
    'DATA_SAMPLERS', 'LOOPS', 'METRICS', 'VISUALIZERS', 'VISBACKENDS'
]


def _child(name: str, location: str) -> Registry:
    """A registry under mmpretrain's ``name``, filled by ``location``."""
    registry = getattr(parent, name)
    return Registry(
        registry.name,
        parent=registry,
        scope='dense_ssl',
        locations=[f'dense_ssl.{location}'])


MODELS = _child('MODELS', 'models')
DATASETS = _child('DATASETS', 'datasets')
TRANSFORMS = _child('TRANSFORMS', 'datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'datasets')
HOOKS = _child('HOOKS', 'engine')
LOOPS = _child('LOOPS', 'engine')
OPTIMIZERS = _child('OPTIMIZERS', 'engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'engine')
METRICS = _child('METRICS', 'evaluation')
VISUALIZERS = _child('VISUALIZERS', 'visualization')
VISBACKENDS = _child('VISBACKENDS', 'visualization')
