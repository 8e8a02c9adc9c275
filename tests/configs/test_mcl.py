"""MCL's configs: as stated, and running when shrunk."""

import pytest
import torch
from mmengine.config import Config, ConfigDict

from dense_ssl.registry import MODELS
from tests.engine.runs import CONFIGS, image_folder, train
from tests.models.tiny_mcl import mcl_config

NAMES = sorted(p.name for p in (CONFIGS / 'mcl').glob('*.py'))


def shrink(cfg: Config, data_root, work_dir) -> Config:
    """Tiny networks, 64-pixel views, two iterations."""
    tiny = mcl_config()
    for part in ('backbone', 'neck', 'region_head', 'predictor'):
        cfg.model[part] = ConfigDict(tiny[part])
    multi_view = cfg.train_dataloader.dataset.pipeline[1]
    multi_view.view_size = 64
    for pipeline in multi_view.transforms:
        if 'scale' in pipeline[0]:
            pipeline[0].scale = pipeline[0].scale * 64 // 224
    cfg.train_dataloader.dataset.data_root = str(data_root)
    cfg.optim_wrapper.type = 'OptimWrapper'  # mixed precision needs CUDA
    cfg.optim_wrapper.pop('loss_scale', None)
    cfg.merge_from_dict(
        {
            'train_dataloader.num_workers': 0,
            'train_dataloader.batch_size': 4,
            'train_dataloader.pin_memory': False,
            'train_cfg.max_epochs': 1,
            'default_hooks.checkpoint.interval': 1,
            'randomness.seed': 0,
            'log_level': 'WARNING',
        }
    )
    cfg.work_dir = str(work_dir)
    return cfg


@pytest.mark.parametrize('name', NAMES)
def test_configs_train_when_shrunk(name, tmp_path):
    cfg = Config.fromfile(CONFIGS / 'mcl' / name)
    cfg = shrink(cfg, image_folder(tmp_path / 'images', 8, size=64), tmp_path)
    runner, recorder = train(cfg)
    assert len(recorder.losses) == 2
    assert torch.isfinite(torch.tensor(recorder.losses)).all()
    steps = 1 if 'accum4' in name else 2
    assert runner.model.momentum_encoder.num_updates == steps
    # the next k of K: the end of the schedule
    assert recorder.momenta[-1] == 1
    sizes = [64] * 8 if 'direct' not in name else [64, 32, 16, 8] * 2
    inputs = next(iter(runner.train_dataloader))['inputs']
    assert [v.shape[-1] for v in inputs] == sizes


def test_recipe():
    cfg = Config.fromfile(CONFIGS / 'mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py')
    assert cfg.optim_wrapper.optimizer.lr == 1.0 * 32 * 128 / 256
    assert cfg.train_dataloader.batch_size == 128
    multi_view = cfg.train_dataloader.dataset.pipeline[1]
    assert multi_view.num_views == [4, 4]
    for pipeline, blur, solarise in zip(multi_view.transforms, (1, 0.1), (0, 0.2)):
        assert pipeline[0].crop_ratio_range == (0.2, 1.0)
        assert pipeline[2].blur_prob == blur
        assert pipeline[2].solarize_prob == solarise
    model = MODELS.build(cfg.model)
    convs = [m.weight.shape for m in model.region_head.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convs == [(256, 256, 3, 3)] * 4
    assert model.levels.counts(128) == (128, 32, 8, 4)
    assert model.head.weights == (1 / 2, 1 / 4, 1 / 8, 1 / 8)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert shapes['region_head.mlp.fc0.weight'] == (2048, 256)
    assert shapes['region_head.mlp.fc1.weight'] == (256, 2048)
    assert shapes['predictors.3.fc0.weight'] == (2048, 256)
    assert 'neck.lateral_convs.0.conv.bias' not in shapes
