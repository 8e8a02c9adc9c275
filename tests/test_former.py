"""What version 0.1 called otherwise is still found."""

import importlib

import pytest
from mmengine.registry import HOOKS

from dense_ssl.former import FORMER_MODULES

NEEDS = dict(mmdet_parts='mmdet', mmseg_parts='mmseg')


@pytest.mark.parametrize('name', FORMER_MODULES)
def test_modules(name):
    new = FORMER_MODULES[name]
    for part, package in NEEDS.items():
        if new.endswith(part):
            pytest.importorskip(package)
    with pytest.warns(DeprecationWarning, match=f'{name} is now dense_ssl.{new}'):
        old = importlib.reload(importlib.import_module(f'dense_ssl.{name}'))
    for key, value in vars(importlib.import_module(f'dense_ssl.{new}')).items():
        assert key.startswith('__') or getattr(old, key) is value


@pytest.mark.parametrize(
    'module, old',
    [
        ('evaluation', 'VOCDetectionMetric'),
        ('transfer', 'PreciseBatchNormHook'),
        ('engine', 'FastRunner'),
    ],
)
def test_attributes(module, old):
    module = importlib.import_module(f'dense_ssl.{module}')
    with pytest.warns(DeprecationWarning, match=f'{old} is now called'):
        assert getattr(module, old)
    with pytest.raises(AttributeError, match='no attribute .nothing'):
        module.nothing  # noqa: B018


def test_names_in_a_config():
    hook = HOOKS.build(dict(type='dense_ssl.transfer.PreciseBatchNormHook', iterations=3))
    assert hook.iterations == 3
