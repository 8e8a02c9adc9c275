"""What every pre-training config must agree on with itself."""
import re
from pathlib import Path

import pytest
from mmengine.config import Config

import dense_ssl  # noqa: F401
from dense_ssl.registry import DATASETS, HOOKS, MODELS, OPTIMIZERS

ROOT = Path(__file__).resolve().parents[1] / 'configs'
CONFIGS = sorted(
    p.relative_to(ROOT).as_posix() for method in ('densecl', 'pixpro', 'mcl')
    for p in (ROOT / method).glob('*.py'))


def load(name: str) -> Config:
    return Config.fromfile(ROOT / name)


@pytest.mark.parametrize('name', CONFIGS)
def test_name_says_what_the_config_does(name):
    cfg = load(name)
    gpus, batch = map(int, re.search(r'_(\d+)xb(\d+)-', name).groups())
    assert cfg.train_dataloader.batch_size == batch
    accumulate = re.search(r'-accum(\d+)-', name)
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert counts == (int(accumulate[1]) if accumulate else 1)
    # mmengine compares it with the images of an iteration, not of a step
    assert cfg.auto_scale_lr.base_batch_size == gpus * batch
    epochs = int(re.search(r'-(\d+)e_', name)[1])
    assert cfg.train_cfg.max_epochs == epochs
    depth = int(re.search(r'resnet(\d+)', name)[1])
    assert cfg.model.backbone.depth == depth


@pytest.mark.parametrize('name', CONFIGS)
def test_learning_rate_ends_with_training(name):
    cfg = load(name)
    epochs = cfg.train_cfg.max_epochs
    assert all(s.by_epoch for s in cfg.param_scheduler)
    assert max(s.end for s in cfg.param_scheduler) == epochs
    for s in cfg.param_scheduler:
        if s.type == 'CosineAnnealingLR':
            assert s.get('T_max', s.end - s.begin) == s.end - s.begin


@pytest.mark.parametrize('name', CONFIGS)
def test_every_part_exists(name):
    cfg = load(name)
    assert cfg.default_scope == 'dense_ssl'
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root
    assert MODELS.get(cfg.model.type)
    assert DATASETS.get(cfg.train_dataloader.dataset.type)
    assert OPTIMIZERS.get(cfg.optim_wrapper.optimizer.type)
    hooks = [h['type'] for h in cfg.custom_hooks]
    assert all(HOOKS.get(h) for h in hooks)
    assert {'EpochSeedHook', 'MomentumScheduleHook'} <= set(hooks)
    assert not cfg.train_dataloader.persistent_workers


@pytest.mark.parametrize('name', [n for n in CONFIGS if '_folder' in n])
def test_folder_configs_take_any_number_of_images(name):
    cfg = load(name)
    for hook in cfg.custom_hooks:
        if hook['type'] == 'QueueLengthHook' and 'queue_len' in cfg.model:
            assert hook['if_longer'] == 'fit'


@pytest.mark.parametrize('method', ['densecl', 'pixpro', 'mcl'])
def test_metafile_lists_every_config(method):
    listed = Config.fromfile(ROOT / method / 'metafile.yml').Models
    assert sorted(m['Config'] for m in listed) == [
        f'configs/{n}' for n in CONFIGS if n.startswith(method)
    ]


# lr at the config's batch, weight decay, optimiser, EMA, epochs of warm-up,
# eta_min: the papers' recipes, written out.
RECIPES = {
    'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py':
    (0.03, 1e-4, 'SGD', (0.999, None), 0, 0),
    'densecl/densecl_resnet101_8xb32-coslr-200e_in1k.py':
    (0.03, 1e-4, 'SGD', (0.999, None), 0, 0),
    'densecl/densecl_resnet50_8xb32-coslr-800e_coco.py':
    (0.3, 1e-4, 'SGD', (0.999, None), 0, 0),
    'densecl/densecl_resnet50_8xb32-coslr-1600e_coco.py':
    (0.3, 1e-4, 'SGD', (0.999, None), 0, 0),
    'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py':
    (4.0, 1e-5, 'LARS', (0.99, 1.0), 5, 1e-6),
    'pixpro/pixpro_resnet50_8xb128-coslr-400e_in1k.py':
    (4.0, 1e-5, 'LARS', (0.99, 1.0), 5, 1e-6),
    'pixpro/pixcontrast_resnet50_8xb128-coslr-100e_in1k.py':
    (4.0, 1e-5, 'LARS', (0.99, 1.0), 5, 1e-6),
    'mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py':
    (16.0, 1e-5, 'LARS', (0.99, 1.0), 10, 1e-4),
    'mcl/mcl_resnet50_8xb128-accum4-coslr-100e_in1k.py':
    (16.0, 1e-5, 'LARS', (0.99, 1.0), 10, 1e-4),
}


@pytest.mark.parametrize('name', RECIPES)
def test_recipe_of_the_paper(name):
    cfg = load(name)
    lr, decay, optimizer, ema, warm_up, eta_min = RECIPES[name]
    built = cfg.optim_wrapper.optimizer
    assert (built.lr, built.weight_decay, built.momentum, built.type) == (
        lr, decay, 0.9, optimizer)
    assert (cfg.model.momentum, cfg.model.get('end_momentum')) == ema
    schedule = {s.type: s for s in cfg.param_scheduler}
    assert schedule['CosineAnnealingLR'].get('eta_min', 0) == eta_min
    assert schedule.get('LinearLR', dict(end=0))['end'] == warm_up
    if name.startswith('densecl'):
        model = cfg.model
        assert (model.queue_len, model.loss_lambda) == (65536, 0.5)
        assert model.head.temperature == 0.2 and model.shuffle_bn
        assert not model.backbone.zero_init_residual
        assert model.backbone.init_cfg[0].mode == 'fan_in'
        p = model.projector
        assert (p.hidden_channels, p.out_channels, p.num_grid) == (2048, 128,
                                                                   None)
    if name.startswith('mcl'):
        assert built.variant == 'mcl' and built.eta == 0.001
        assert cfg.optim_wrapper.clip_grad.max_norm == 500
        assert schedule['LinearLR'].start_factor == 1e-4
    if name.startswith('pixpro'):
        assert built.variant == 'pixpro'
        assert schedule['LinearLR'].start_factor == 0.01
        assert cfg.model.correspondence.radius == 0.7


def test_model_index_lists_every_method():
    index = Config.fromfile(ROOT.parent / 'model-index.yml').Import
    for method in ('densecl', 'pixpro', 'mcl'):
        assert f'configs/{method}/metafile.yml' in index
