"""Names of version 0.1 that something else has now, kept until version 0.3."""

import functools
import importlib
import importlib.abc
import importlib.util
import sys
import types
import warnings
from pathlib import Path
from typing import Any, Callable

__all__ = [
    'FORMER_CONFIGS',
    'current_config',
    'old_arguments',
    'old_attributes',
    'redirect_former_names',
]

FORMER_CONFIGS = {
    f'{name}_folder.py': f'{name}_in1k.py'
    for name in (
        'densecl_resnet50_8xb32-coslr-200e',
        'mocov2_resnet50_8xb32-coslr-200e',
        'pixcontrast_resnet50_8xb128-coslr-100e',
        'pixpro_resnet50_8xb128-coslr-100e',
        'pixpro-inst_resnet50_8xb128-coslr-100e',
        'pixpro-fpn_resnet50_8xb128-coslr-100e',
        'pixpro-fpn-head_resnet50_8xb128-coslr-100e',
        'mcl_resnet50_8xb128-coslr-100e',
        'mcl-direct_resnet50_8xb128-coslr-100e',
    )
}
#: Below ``dense_ssl.``.
FORMER_MODULES = {
    'datasets.transforms.colour': 'datasets.transforms.color',
    'datasets.unlabelled': 'datasets.unlabeled',
    'engine.clean_errors': 'cli.clean_errors',
    'engine.config_file': 'cli.config',
    'engine.config_options': 'cli.options',
    'engine.device_colour': 'engine.device_color',
    'engine.devices': 'engine.processes',
    'engine.fast_runner': 'engine.runner',
    'engine.hooks.momentum_schedule_hook': 'engine.hooks.momentum_update_hook',
    'engine.launch': 'cli.build',
    'engine.option_action': 'cli.options',
    'engine.train_options': 'cli.flags',
    'evaluation.voc_metric': 'finetune.voc_metric',
    'models.batch_colour': 'models.batch_color',
    'models.level_embedding': 'models.montage_embedding',
    'models.necks': 'models.networks',
    'models.necks.dense_projector': 'models.networks.dense_projector',
    'models.necks.dense_tower': 'models.networks.dense_tower',
    'models.necks.fpn': 'models.networks.fpn',
    'models.necks.pixel_projector': 'models.networks.pixel_projector',
    'models.necks.pixel_propagation': 'models.networks.pixel_propagation',
    'models.necks.region_head': 'models.networks.region_head',
    'transfer.benchmarks': 'cli.former',
    'transfer.benchmarks.absent_metrics': 'finetune.absent_metrics',
    'transfer.benchmarks.adjust': 'finetune.edits',
    'transfer.benchmarks.check': 'finetune.check',
    'transfer.benchmarks.coco_data': 'finetune.data.coco',
    'transfer.benchmarks.data_check': 'finetune.data.paths',
    'transfer.benchmarks.folder_data': 'finetune.data.class_folders',
    'transfer.benchmarks.mask_check': 'finetune.data.coco_masks',
    'transfer.benchmarks.merge_options': 'cli.options',
    'transfer.benchmarks.model': 'finetune.check',
    'transfer.benchmarks.options': 'cli.former',
    'transfer.benchmarks.recipe': 'finetune.recipe_audit',
    'transfer.benchmarks.run': 'finetune.run',
    'transfer.benchmarks.segmentation_data': 'finetune.data.label_maps',
    'transfer.benchmarks.small': 'finetune.small',
    'transfer.benchmarks.suite': 'finetune.suite',
    'transfer.benchmarks.table': 'finetune.suite_table',
    'transfer.detection': 'finetune.mmdet_parts',
    'transfer.errors': 'errors',
    'transfer.hook': 'transfer.transfer_hook',
    'transfer.precise_batch_norm_hook': 'finetune.precise_batch_norm',
    'transfer.report': 'transfer.loading_report',
    'transfer.segmentation': 'finetune.mmseg_parts',
}

#: What in them has another name now.
FORMER_NAMES = {
    'ColourParams': 'ColorParams',
    'FastRunner': 'DenseRunner',
    'MomentumScheduleHook': 'MomentumUpdateHook',
    'RandomColour': 'RandomColor',
    'UnlabelledImages': 'UnlabeledImages',
    'apply_colour': 'apply_color',
    'batch_colour': 'batch_color',
    'leave_colours_to_device': 'leave_colors_to_device',
    'settle_devices': 'settle_processes',
}


def current_config(path: str) -> str:
    """``path``, or what a config of version 0.1 is called now."""
    folder, slash, name = path.rpartition('/')
    if name not in FORMER_CONFIGS or Path(path).exists():
        return path
    new = f'{folder}{slash}{FORMER_CONFIGS[name]}'
    warnings.warn(
        f'the config {name} is now {new}: any config takes a folder by --data DIR', stacklevel=2
    )
    return new


class _FormerModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module of version 0.1 as what it is called now."""

    def find_spec(self, name, path=None, target=None):
        known = name.removeprefix('dense_ssl.') in FORMER_MODULES
        return importlib.util.spec_from_loader(name, self) if known else None

    def create_module(self, spec):
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        new = 'dense_ssl.' + FORMER_MODULES[module.__name__.removeprefix('dense_ssl.')]
        warnings.warn(f'{module.__name__} is now {new}', DeprecationWarning, stacklevel=2)
        names = vars(importlib.import_module(new))
        vars(module).update({k: v for k, v in names.items() if not k.startswith('__')})
        vars(module).update({old: names[k] for old, k in FORMER_NAMES.items() if k in names})
        module.__path__ = []  # a folder of modules it may have been


def redirect_former_names() -> None:
    """Let modules and configs of version 0.1 be found under their former names."""
    from mmengine.config import config
    from mmengine.hub import hub

    sys.meta_path.insert(0, _FormerModules())
    for module in (config, hub):
        find = getattr(module, '_get_external_cfg_base_path', None)
        if find is not None:
            module._get_external_cfg_base_path = lambda package, path, find=find: find(
                package, current_config(path)
            )


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
    """The ``__getattr__`` of a module: ``old='new'`` there, or ``old='module.new'`` elsewhere."""

    def getattribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        _warn(name, names[name])
        home, _, new = names[name].rpartition('.')
        return getattr(importlib.import_module(home or module), new)

    return getattribute
