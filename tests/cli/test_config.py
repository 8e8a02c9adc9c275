"""Packages that a config builds on are checked, never installed."""

import importlib
from pathlib import Path

import mmengine.utils.package_utils as package_utils
import pytest

import dense_ssl.compat as compat
from dense_ssl.cli import config as config_file
from dense_ssl.cli.config import load_config
from dense_ssl.errors import UserError
from dense_ssl.former import FORMER_CONFIGS

ROOT = Path(__file__).resolve().parents[2]
NAME = 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'


@pytest.fixture(autouse=True)
def no_installation(monkeypatch):

    def refuse(command):
        pytest.fail(f'would have run {command}')

    monkeypatch.setattr(package_utils, 'call_command', refuse)


@pytest.fixture
def no_mmdet(monkeypatch):
    import_module = importlib.import_module

    def absent(name, *args):
        if name == 'mmdet':
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        return import_module(name, *args)

    monkeypatch.setattr(compat.importlib, 'import_module', absent)
    monkeypatch.setattr(package_utils, 'is_installed', lambda name: 'mmdet' not in name)


def write(folder, **files):
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)
    return str(folder / f'{name}.py')


def test_absent_package_is_named(no_mmdet):
    with pytest.raises(compat.VersionError, match='needs mmdet .*make setup'):
        load_config(f'mmdet::{NAME}')


def test_absent_package_of_a_base_is_named(no_mmdet, tmp_path):
    config = write(
        tmp_path,
        base=f"_base_ = 'mmdet::{NAME}'",
        config="_base_ = ['./base.py', './config.py']\na = 1",
    )
    with pytest.raises(compat.VersionError, match='base.py: .*make setup'):
        load_config(config)


def test_unknown_package_is_named(tmp_path):
    config = write(tmp_path, config="_base_ = ['mmdett::a/b.py']")
    with pytest.raises(compat.VersionError, match='package mmdett'):
        load_config(config)
    with pytest.raises(compat.VersionError, match='package mmdett'):
        load_config('mmdett::a/b.py')


def test_installation_that_mmengine_would_not_find(monkeypatch):
    monkeypatch.setattr(config_file, 'is_installed', lambda name: False)
    with pytest.raises(compat.VersionError, match='does not find'):
        load_config('mmpretrain::resnet/resnet18_8xb32_in1k.py')


def test_configs_are_read(tmp_path):
    config = write(
        tmp_path,
        base='a = 1',
        config="_base_ = ['./base.py', 'mmpretrain::_base_/models/resnet18.py']\nb = 2",
    )
    cfg = load_config(config)
    assert (cfg.a, cfg.b, cfg.model.backbone.depth) == (1, 2, 18)


@pytest.mark.parametrize('text', ['a = 1 +', '_base_ = f(x)', "_base_ = ['x.py']"])
def test_a_faulty_file_is_named(tmp_path, text):
    with pytest.raises(UserError, match='config.py cannot be read'):
        load_config(write(tmp_path, config=text))


@pytest.mark.parametrize('name', sorted(FORMER_CONFIGS))
def test_former_names_resolve(tmp_path, name):
    folder = ROOT / 'configs' / name.split('_')[0].split('-')[0]
    if not folder.is_dir():
        folder = (
            ROOT / 'configs' / {'mocov2': 'densecl', 'pixcontrast': 'pixpro'}[name.split('_')[0]]
        )
    new = load_config(str(folder / FORMER_CONFIGS[name]))
    with pytest.warns(UserWarning, match='--data DIR'):
        assert load_config(str(folder / name)).model == new.model
    base = f'dense_ssl::{folder.name}/{name}'
    with pytest.warns(UserWarning, match='--data DIR'):
        cfg = load_config(write(tmp_path, config=f'_base_ = {base!r}'))
    assert cfg.model.type == new.model.type
    with pytest.warns(UserWarning, match='--data DIR'):
        assert load_config(base).model == new.model


@pytest.mark.parametrize(
    'key, meant',
    [
        ('optim_wraper', 'optim_wrapper'),
        ('custom_hook', 'custom_hooks'),
        ('train_dataloder', 'train_dataloader'),
    ],
)
def test_a_misspelt_key_of_a_config_file(tmp_path, key, meant):
    path = tmp_path / 'c.py'
    path.write_text(f'{key} = dict(a=1)\ntrain_pipeline = []\n')
    with pytest.raises(ValueError, match=f'c.py.*{key}; {meant} is'):
        load_config(str(path))
    path.write_text('train_pipeline = []\nlr = 1\ntrain_dataset = dict()\n')
    assert load_config(str(path)).lr == 1
