"""Check ``--cfg-options`` before they are merged into a config.

mmengine accepts any key there. A misspelt one is then either ignored or fails
late, so here every key must exist in the config or be an argument of what its
section builds.
"""

import copy
import difflib
import inspect
from typing import Any, Optional

from mmengine import registry as registries
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from dense_ssl.errors import UserError

__all__ = ['check_options', 'check_top_level', 'flatten', 'open_sections']

# Read by mmengine from the config beside the arguments of Runner.
_TOP_LEVEL = set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'runner_type',
    'sync_bn',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'compile',
    'custom_imports',
    'tta_model',
    'tta_pipeline',
    'strategy',
}
_DATALOADER = set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | {
    'num_batch_per_epoch'
}
# Sections without a `type`, and the arguments they take.
_UNTYPED = {
    'train_dataloader': _DATALOADER,
    'val_dataloader': _DATALOADER,
    'test_dataloader': _DATALOADER,
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'env_cfg.dist_cfg': {'backend', 'timeout', 'init_backend', 'init_method'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'randomness': {'seed', 'diff_rank_seed', 'deterministic'},
    'optim_wrapper.clip_grad': {
        'max_norm',
        'norm_type',
        'error_if_nonfinite',
        'foreach',
        'type',
        'clip_value',
    },
    'optim_wrapper.paramwise_cfg': {
        'custom_keys',
        'lr_mult',
        'decay_mult',
        'bias_lr_mult',
        'bias_decay_mult',
        'norm_decay_mult',
        'flat_decay_mult',
        'dwconv_decay_mult',
        'dcn_offset_lr_mult',
        'bypass_duplicate',
    },
    'train_cfg': {
        'type',
        'by_epoch',
        'max_epochs',
        'max_iters',
        'val_begin',
        'val_interval',
        'dynamic_intervals',
    },
    'model_wrapper_cfg': {
        'type',
        'broadcast_buffers',
        'find_unused_parameters',
        'static_graph',
        'detect_anomalous_params',
        'gradient_as_bucket_view',
        'bucket_cap_mb',
    },
    'val_cfg': {'type', 'fp16'},
    'test_cfg': {'type', 'fp16'},
    'optim_wrapper': {
        'type',
        'optimizer',
        'accumulative_counts',
        'clip_grad',
        'loss_scale',
        'dtype',
        'paramwise_cfg',
        'constructor',
        'use_fsdp',
    },
}
# The user's own names (layers, hooks) are keys here.
_FREE = ('optim_wrapper.paramwise_cfg.custom_keys',)
# Read by whatever is around them: their keys are not known here.
_OPEN = {'metainfo', 'data_prefix', 'filter_cfg', 'backend_args'}
_OPEN_IN_MODEL = {'train_cfg', 'test_cfg'}
_ALWAYS = {'type', '_delete_', '_scope_'}
# Taken out by mmengine or mmcv before they call the class.
_TAKEN_OUT = {
    'custom_hooks': {'priority'},
    'default_hooks': {'priority'},
    'param_scheduler': {'convert_to_iter_based'},
    'model': {'requires_grad', 'init_cfg'},
}


def flatten(options: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """``{'a': {'b': 1}, 'c.d': 2}`` as ``{'a.b': 1, 'c.d': 2}``."""
    flat = {}
    for key, value in options.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[prefix + key] = value
    return flat


def check_options(cfg: Config, options: dict[str, Any], variables: tuple[str, ...] = ()) -> None:
    """Refuse keys that nothing would read.

    Args:
        cfg: The config before the merge.
        options: Dotted keys and values.
        variables: Top-level keys beside mmengine's that the caller handles.

    Raises:
        UserError: One line naming the key, what is wrong with it, and the
            closest key that exists.
    """
    options = flatten(options)
    try:
        merged = copy.deepcopy(cfg)
        merged.merge_from_dict(dict(options))
    except (KeyError, TypeError, IndexError, AttributeError):
        merged = cfg  # the walk below says which key it was
    for key in options:
        _check_one(cfg, merged, key, variables)


def check_top_level(cfg: Config) -> None:
    """Look for misspelt keys among those that mmengine reads.

    Configs may hold variables of any name, so only near misses are found.

    Raises:
        UserError: Names the key and what it nearly is.
    """
    for key in set(cfg) - _TOP_LEVEL:
        close = difflib.get_close_matches(key, _TOP_LEVEL, 1, 0.9)
        if close:
            raise UserError(
                f'{cfg.filename}: nothing reads the key {key}; {close[0]} is '
                'probably meant. If it is a variable, call it something less '
                'like it'
            )


def open_sections(cfg: Config, options: dict[str, Any]) -> None:
    """Make sections that are None empty where ``options`` fill them.

    mmengine merges no keys into None (``clip_grad=None``, say).
    """
    for key in options:
        node = cfg
        for name in key.split('.')[:-1]:
            if isinstance(node, (list, tuple)):
                node = node[int(name)]
                continue
            if name in node and node[name] is None:
                node[name] = ConfigDict()
            node = node.get(name, {})


def _check_one(cfg, merged, key, variables):
    top = key.split('.')[0]
    if top in cfg and top not in _TOP_LEVEL and top not in variables:
        used = [p for p in _paths(cfg) if p.split('.')[-1] == top and p != top]
        raise UserError(
            f'--cfg-options {key}: {top} is a variable of the config file, '
            'already used up when options are merged, so this would change '
            f'nothing. Override {", ".join(used) or "the keys it set"}.'
        )
    node, new, path = cfg, merged, []
    for name in key.split('.'):
        where = '.'.join(path)
        if isinstance(node, (list, tuple)):
            if not name.isdigit() or int(name) >= len(node):
                raise UserError(
                    f'--cfg-options {key}: {where} is a list of {len(node)} '
                    f'entries, numbered from 0; there is no entry {name!r}.'
                )
            node = node[int(name)]
            new = (
                new[int(name)] if isinstance(new, (list, tuple)) and int(name) < len(new) else node
            )
        elif isinstance(node, (dict, Config)):
            if name not in node:
                _check_new(cfg, node, new, path, name, key)
                return
            node = node[name]
            new = new.get(name, node) if hasattr(new, 'get') else node
        elif node is None:  # a section that is switched off: filled anew
            return
        else:
            raise UserError(f'--cfg-options {key}: {where} is {node!r}, which has no key {name!r}.')
        path.append(name)


def _check_new(cfg, node, new, path, name, key):
    """``name`` is not in ``node``: may it be added there?"""
    where = '.'.join(path)
    if where in _FREE or name in _ALWAYS:
        return
    known, complete = _arguments(where, new)
    if name in known:
        return
    names = sorted(known | set(node.keys()))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    elsewhere = [p for p in _paths(cfg) if p.split('.')[-1] == name]
    if not complete and not close:
        return
    if close and not (elsewhere and not path):
        suggestion = '.'.join([*path, close[0]])
    elif elsewhere:
        suggestion = elsewhere[0]
    else:
        raise UserError(
            f'--cfg-options {key}: {where or "the config"} has no key '
            f'{name!r}; it has {", ".join(names)}.'
        )
    raise UserError(
        f'--cfg-options {key}: {where or "the config"} has no '
        f'key {name!r}. Did you mean {suggestion}?'
    )


def _arguments(where: str, node: Any) -> tuple[set[str], bool]:
    """Keys a section may have, and whether the list is known complete."""
    if not where:
        return _TOP_LEVEL, True
    known = set(_UNTYPED.get(where, ()))
    known |= _TAKEN_OUT.get(where.split('.')[0], set())
    typed = node.get('type') if hasattr(node, 'get') else None
    if typed is None:
        parts = set(where.split('.'))
        is_open = parts & _OPEN or ('model' in parts and parts & _OPEN_IN_MODEL)
        return known, not is_open
    cls = _resolve(typed, node)
    if cls is None:
        return known, False
    names, complete = _signature(cls)
    return known | names, complete


def _resolve(typed: Any, node: Any) -> Optional[type]:
    """The class a ``type`` stands for, looked up in every registry."""
    if not isinstance(typed, str):
        return typed if callable(typed) else None
    scope = DefaultScope.get_current_instance()
    name = scope.scope_name if scope is not None else 'dense_ssl'
    with DefaultScope.overwrite_default_scope(node.get('_scope_', name)):
        for root in _root_registries():
            with root.switch_scope_and_registry(None) as registry:
                found = registry.get(typed)
            if found is not None:
                return found
    return None


def _root_registries() -> list[registries.Registry]:
    return [
        getattr(registries, name)
        for name in (
            'MODELS',
            'DATASETS',
            'TRANSFORMS',
            'HOOKS',
            'OPTIMIZERS',
            'OPTIM_WRAPPERS',
            'PARAM_SCHEDULERS',
            'DATA_SAMPLERS',
            'LOOPS',
            'METRICS',
            'EVALUATOR',
            'VISUALIZERS',
            'VISBACKENDS',
            'LOG_PROCESSORS',
            'MODEL_WRAPPERS',
            'WEIGHT_INITIALIZERS',
            'TASK_UTILS',
            'FUNCTIONS',
        )
    ]


def _signature(cls: Any) -> tuple[set[str], bool]:
    """Argument names, following ``**kwargs`` up the base classes."""
    if not inspect.isclass(cls):
        parameters = inspect.signature(cls).parameters.values()
        return ({p.name for p in parameters}, all(p.kind != p.VAR_KEYWORD for p in parameters))
    names, complete = set(), True  # without __init__, no arguments
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        complete = False
        parameters = inspect.signature(base.__init__).parameters.values()
        names |= {
            p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        } - {'self'}
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            return names, True
    return names, complete


def _paths(node: Any, prefix: str = '') -> list[str]:
    """Every dotted key of a config."""
    items = (
        node.items()
        if hasattr(node, 'items')
        else (enumerate(node) if isinstance(node, (list, tuple)) else ())
    )
    result = []
    for key, value in items:
        result.append(f'{prefix}{key}')
        result += _paths(value, f'{prefix}{key}.')
    return result
