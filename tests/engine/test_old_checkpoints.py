"""A checkpoint that an earlier version wrote still loads, resumes and transfers.

``tests/data/old_checkpoints/README.md`` says which version and how.
"""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from PIL import Image

import dense_ssl  # noqa: F401
from dense_ssl.transfer import prepare_transfer, read_checkpoint
from tests.engine.runs import CONFIGS, Recorder

DATA = Path(__file__).resolve().parents[1] / 'data' / 'old_checkpoints'
FIGURES = json.loads((DATA / 'figures.json').read_text())
TODAY = dict(
    densecl='densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
    pixpro='pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py',
    mcl='mcl/mcl_resnet50_8xb128-coslr-100e_in1k.py',
)


def draw(folder) -> None:
    """Sixteen pictures of coarse and fine random squares, the same everywhere."""
    Path(folder).mkdir()
    rng = np.random.RandomState(0)  # the one generator numpy promises not to change
    for i in range(16):
        coarse, fine = (rng.randint(0, 128, (n, n, 3)) for n in (8, 32))
        pixels = coarse.repeat(16, 0).repeat(16, 1) + fine.repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(f'{folder}/{i}.png')


@pytest.fixture(params=TODAY)
def method(request):
    return request.param


@pytest.fixture
def checkpoint(method, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(lzma.decompress((DATA / f'{method}.pth.xz').read_bytes()))
    return path


def dumped_config(checkpoint) -> Config:
    """The config in the file, with the names that its parts had then."""
    return Config.fromstring(read_checkpoint(checkpoint).meta['cfg'], '.py')


def todays_config(method, checkpoint) -> Config:
    """Today's config with the run's sizes, as by the same options again."""
    cfg, old = Config.fromfile(CONFIGS / TODAY[method]), dumped_config(checkpoint)
    sizes = 'backbone neck projector propagation region_head predictor queue_len'.split()
    cfg.model.update({key: old.model[key] for key in sizes if key in old.model})
    for key in ('batch_size', 'num_workers', 'persistent_workers', 'pin_memory'):
        cfg.train_dataloader[key] = old.train_dataloader[key]
    cfg.train_dataloader.dataset.pipeline[1].view_size = old.view_size
    cfg.optim_wrapper.optimizer.lr = old.optim_wrapper.optimizer.lr
    for key in ('param_scheduler', 'train_cfg', 'randomness', 'log_level'):
        cfg[key] = old[key]
    return cfg


def build(cfg: Config, checkpoint, **options) -> Runner:
    draw(checkpoint.parent / 'images')
    cfg.train_dataloader.dataset.data_root = str(checkpoint.parent / 'images')
    cfg.work_dir = str(checkpoint.parent / 'run')
    cfg.experiment_name = checkpoint.parent.name
    cfg.load_from = str(checkpoint)
    cfg.merge_from_dict(options)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def test_the_config_within_trains(method, checkpoint):
    """A run's dumped config names what has had other names since."""
    runner = build(dumped_config(checkpoint), checkpoint)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    assert len(recorder.losses) == 4 and np.isfinite(recorder.losses).all()


@pytest.mark.parametrize('config', ['today', 'dumped'])
def test_resumes_as_then(method, checkpoint, config):
    cfg = dumped_config(checkpoint) if config == 'dumped' else todays_config(method, checkpoint)
    runner = build(cfg, checkpoint, resume=True)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    # Bit for bit on the machine that made them; the README says what another one may differ by.
    assert recorder.losses == pytest.approx(FIGURES[method]['losses'], rel=1e-5)
    magnitudes = {k: v.double().abs().sum().item() for k, v in runner.model.state_dict().items()}
    assert magnitudes == pytest.approx(FIGURES[method]['magnitudes'], rel=2e-3, abs=1e-5)


def test_loads_strictly(method, checkpoint):
    runner = build(todays_config(method, checkpoint), checkpoint)
    runner.load_or_resume()
    loaded, weights = runner.model.state_dict(), read_checkpoint(checkpoint).state_dict
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def classifier():
    from mmpretrain.registry import MODELS

    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ResNet', depth=18, base_channels=2, stem_channels=2),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=16),
            _scope_='mmpretrain',
        )
    )


def detector():
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    bn = dict(type='BN')
    return MODELS.build(
        dict(
            type='RetinaNet',
            backbone=dict(type='ResNet', depth=18, base_channels=2, norm_cfg=bn),
            neck=dict(
                type='FPN', in_channels=[2, 4, 8, 16], out_channels=4, norm_cfg=bn, num_outs=5
            ),
            bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=4, feat_channels=4),
            _scope_='mmdet',
        )
    )


def test_transfers(method, checkpoint):
    model = detector() if method == 'mcl' else classifier()
    read = read_checkpoint(checkpoint)
    report = prepare_transfer(model, read).apply()
    parts = ['backbone', 'neck'] if method == 'mcl' else ['backbone']
    assert [part.name for part in report.parts] == parts
    filled = model.state_dict()
    for part in parts:
        keys = [key for key in filled if key.startswith(f'{part}.')]
        assert keys and all(torch.equal(filled[key], read.state_dict[key]) for key in keys)
