import subprocess
import sys
import types

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from dense_ssl import compat, registry


def stand_in(monkeypatch, name, version):
    module = types.ModuleType(name)
    module.__version__ = version
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(
    'name, found',
    [
        ('mmcv', '1.7.2'),
        ('mmcv', '2.4.0'),
        ('mmengine', '0.9.1'),
        ('mmpretrain', '1.1.1'),
        ('torch', '1.13.1+cu117'),
        ('mmdet', '2.28.0'),
        ('mmseg', '0.30.0'),
    ],
)
def test_refusal_names_package_versions_and_remedy(monkeypatch, name, found):
    stand_in(monkeypatch, name, found)
    wanted = {**compat.REQUIRED, **compat.OPTIONAL}[name]
    with pytest.raises(compat.VersionError) as error:
        compat.require(name)
    message = str(error.value)
    assert f'needs {name} {wanted}, found {found}.' in message
    assert 'install' in message


@pytest.mark.parametrize(
    'name, found',
    [
        ('mmcv', '2.0.0'),
        ('mmcv', '2.3.6'),
        ('mmengine', '0.10.12'),
        ('mmpretrain', '1.2.0'),
        ('torch', '2.11.0+cu130'),
        ('torch', '2.12.0a0+git123'),
        ('mmdet', '3.3.0'),
        ('mmseg', '1.2.2'),
    ],
)
def test_both_families_are_accepted(monkeypatch, name, found):
    stand_in(monkeypatch, name, found)
    assert compat.require(name).__version__ == found


def test_absent_package(monkeypatch):
    monkeypatch.setitem(compat.OPTIONAL, 'mm_not_there', '>=3')
    with pytest.raises(compat.VersionError, match='>=3, which is not inst'):
        compat.require('mm_not_there')


def test_error_inside_a_package_is_not_taken_for_its_absence(monkeypatch, tmp_path):
    (tmp_path / 'mm_broken.py').write_text('import mm_not_there')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(compat.OPTIONAL, 'mm_broken', '>=3')
    with pytest.raises(ModuleNotFoundError) as error:
        compat.require('mm_broken')
    assert error.value.name == 'mm_not_there'


def test_parts_of_mmpretrain_and_mmengine_are_found_in_our_scope():
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        with ROOT_MODELS.switch_scope_and_registry(None) as models:
            assert models.scope == 'dense_ssl'
            assert models.get('ResNet').__module__.startswith('mmpretrain.')
            assert models.get('DenseCL').__module__.startswith('dense_ssl.')
            assert models.get('BaseDataPreprocessor').__module__.startswith('mmengine.')
    assert registry.HOOKS.get('CheckpointHook') is not None
    assert registry.DATASETS.get('CustomDataset') is not None


@pytest.mark.parametrize(
    'base',
    [
        'dense_ssl::_base_/default_runtime.py',
        'mmpretrain::_base_/models/resnet50.py',
        'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
        'mmseg::_base_/models/fcn_r50-d8.py',
    ],
)
def test_config_paths_of_packages(tmp_path, base):
    pytest.importorskip(base.split('::')[0])
    (tmp_path / 'cfg.py').write_text(f"_base_ = '{base}'")
    cfg = Config.fromfile(tmp_path / 'cfg.py')
    assert cfg.get('model') or cfg.default_scope == 'dense_ssl'


def test_hub_reads_our_configs():
    from mmengine.hub import get_config

    cfg = get_config('dense_ssl::densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py')
    assert cfg.model.type == 'dense_ssl.DenseCL'


def test_imports_without_mmdet_and_mmseg():
    code = (
        'import sys; sys.modules.update(mmdet=None, mmseg=None); '
        'import dense_ssl; '
        'from dense_ssl.registry import MODELS; '
        'assert MODELS.get("DenseCL")'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
