"""Registries of dense_ssl, scope ``dense_ssl``.

Each one is a child of mmpretrain's registry of the same name, so a lookup that
fails here falls through to mmpretrain and then to mmengine. Parts of other
packages are reached by prefix, e.g. ``mmdet.FPN``.
"""

from mmengine.registry import Registry
from mmpretrain import registry as parent

__all__ = [
    'MODELS',
    'MODEL_WRAPPERS',
    'WEIGHT_INITIALIZERS',
    'BATCH_AUGMENTS',
    'TASK_UTILS',
    'DATASETS',
    'TRANSFORMS',
    'DATA_SAMPLERS',
    'RUNNERS',
    'RUNNER_CONSTRUCTORS',
    'LOOPS',
    'HOOKS',
    'LOG_PROCESSORS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'METRICS',
    'EVALUATORS',
    'VISUALIZERS',
    'VISBACKENDS',
]


def _child(name: str, location: str) -> Registry:
    """A registry under mmpretrain's ``name``, filled by ``location``."""
    registry = getattr(parent, name)
    child = Registry(
        registry.name, parent=registry, scope='dense_ssl', locations=[f'dense_ssl.{location}']
    )
    # From other scopes mmengine looks for a prefix among the root's own
    # children only: without this, `dense_ssl.DenseCL` would be found from
    # mmpretrain's scope, but not from mmengine's or mmdet's.
    registry._get_root_registry()._children.setdefault('dense_ssl', child)
    return child


MODELS = _child('MODELS', 'models')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS', 'models')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS', 'models')
BATCH_AUGMENTS = _child('BATCH_AUGMENTS', 'models')
TASK_UTILS = _child('TASK_UTILS', 'models')
DATASETS = _child('DATASETS', 'datasets')
TRANSFORMS = _child('TRANSFORMS', 'datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'datasets')
RUNNERS = _child('RUNNERS', 'engine')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS', 'engine')
HOOKS = _child('HOOKS', 'engine')
LOOPS = _child('LOOPS', 'engine')
LOG_PROCESSORS = _child('LOG_PROCESSORS', 'engine')
OPTIMIZERS = _child('OPTIMIZERS', 'engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'engine')
METRICS = _child('METRICS', 'evaluation')
EVALUATORS = _child('EVALUATORS', 'evaluation')
VISUALIZERS = _child('VISUALIZERS', 'visualization')
VISBACKENDS = _child('VISBACKENDS', 'visualization')
