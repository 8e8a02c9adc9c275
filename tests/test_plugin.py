"""A script outside the repository uses dense_ssl as a plugin."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

CONFIG = """
_base_ = 'dense_ssl::densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(data_root='images'))
model = dict(
    queue_len=4,
    backbone=dict(depth=18),
    projector=dict(in_channels=512, hidden_channels=8))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)
param_scheduler = None
"""
SCRIPT = """
import dense_ssl
from mmengine.config import Config
from mmengine.runner import Runner

cfg = Config.fromfile('config.py')
cfg.work_dir = 'run'
runner = Runner.from_cfg(cfg)
runner.train()
assert runner.iter == 2
"""


def test_script_that_inherits_a_config_trains(tmp_path):
    (tmp_path / 'images').mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{i}.png')
    (tmp_path / 'config.py').write_text(CONFIG)
    (tmp_path / 'script.py').write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, 'script.py'], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize('scope', ['mmengine', 'mmpretrain', 'mmdet', 'mmseg'])
def test_prefix_is_found_from_every_scope(scope):
    from mmengine.registry import HOOKS, MODELS, DefaultScope

    if scope in ('mmdet', 'mmseg'):
        pytest.importorskip(f'{scope}.registry')
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(
            dict(
                type='dense_ssl.DenseCL',
                backbone=dict(type='ResNet', depth=18),
                projector=dict(type='DenseProjector', in_channels=512),
                queue_len=4,
            )
        )
        assert type(model).__module__.startswith('dense_ssl.')
        hook = HOOKS.build(dict(type='dense_ssl.EpochSeedHook'))
        assert type(hook).__module__.startswith('dense_ssl.')


def test_a_whole_path_is_found_from_other_scopes():
    registry = pytest.importorskip('mmdet.registry').HOOKS
    found = registry.get('dense_ssl.finetune.PreciseBatchNormHook')
    assert found.__name__ == 'PreciseBatchNormHook'
