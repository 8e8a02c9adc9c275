"""Values that would be taken without a word, and names that are misspelt."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

import dense_ssl.datasets  # noqa: F401
from dense_ssl.engine.optimizers import LARS
from dense_ssl.engine.value_check import check_values
from dense_ssl.errors import UserError
from dense_ssl.registry import DATASETS, MODELS, TRANSFORMS
from tests.models.tiny import densecl, samples

from .runs import ROOT, config

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').rglob('*_*x*.py')), ids=lambda p: p.name)
def test_our_recipes_pass(path):
    check_values(Config.fromfile(path))


@pytest.mark.parametrize(
    'key, value',
    [
        ('optim_wrapper.optimizer.lr', -0.1),
        ('optim_wrapper.optimizer.lr', float('nan')),
        ('optim_wrapper.optimizer.lr', '0.1'),
        ('optim_wrapper.optimizer.momentum', 1.5),
        ('optim_wrapper.optimizer.weight_decay', -1e-4),
        ('optim_wrapper.clip_grad.max_norm', 0),
        ('optim_wrapper.accumulative_counts', 0),
        ('param_scheduler.0.T_max', 0),
        ('param_scheduler.0.eta_min', -1),
        ('train_cfg.max_epochs', 0),
        ('train_dataloader.batch_size', 0),
        ('train_dataloader.num_workers', -1),
        ('default_hooks.checkpoint.interval', 0),
        ('default_hooks.checkpoint.max_keep_ckpts', 0),
        ('default_hooks.logger.interval', 0),
        ('auto_scale_lr.base_batch_size', 0),
        ('disk_full', 'go_on'),
    ],
)
def test_a_run_does_not_start(tmp_path, key, value):
    cfg = config(DENSECL, tmp_path / 'none', tmp_path / 'run')
    cfg.merge_from_dict({key: value})
    with pytest.raises(UserError, match=f'^{key}={value!r} makes no sense'):
        Runner.from_cfg(cfg)


DENSE = dict(type='DenseProjector', in_channels=8, hidden_channels=16, out_channels=4)
PIXPRO = dict(
    type='PixPro',
    backbone=dict(type='TinyBackbone'),
    projector=dict(type='PixelProjector', in_channels=8, hidden_channels=16, out_channels=4),
    propagation=dict(type='PixelPropagation', in_channels=4),
)
CROP = dict(type='RandomResizedCropWithBox', scale=32)


@pytest.mark.parametrize(
    'registry, cfg, named',
    [
        (MODELS, dict(type='QueueContrastHead', temperature=-0.2), 'temperature=-0.2'),
        (MODELS, dict(type='PixelContrastHead', temperature=0), 'temperature=0'),
        (MODELS, dict(type='PixelContrastHead', temperature=float('nan')), 'temperature=nan'),
        (MODELS, dict(type='PixelConsistencyHead', loss_weight=0), 'loss_weight=0'),
        (MODELS, dict(type='MultiLevelContrastHead', weights=(1, -1)), 'weights='),
        (MODELS, dict(type='MultiLevelContrastHead', weights=(0, 0)), 'weights='),
        (MODELS, dict(type='GeometricCorrespondence', radius=0), 'radius=0'),
        (MODELS, dict(type='PixelPropagation', in_channels=4, clamp=1.0), 'clamp=1.0'),
        (MODELS, dict(DENSE, num_grid=0), 'num_grid=0'),
        (MODELS, dict(PIXPRO, max_grid=0), 'max_grid=0'),
        (MODELS, dict(PIXPRO, instance_weight=-1), 'instance_weight=-1'),
        (DATASETS, dict(type='UnlabeledImages', data_root='x', verify=-1), 'verify'),
        (DATASETS, dict(type='UnlabeledImages', data_root='x', min_size=-1), 'min_size'),
        (TRANSFORMS, dict(CROP, scale=0), 'scale=0'),
        (TRANSFORMS, dict(CROP, crop_ratio_range=(1, 0.2)), 'crop_ratio_range'),
        (TRANSFORMS, dict(CROP, crop_ratio_range=(0.2, 2)), 'crop_ratio_range'),
        (TRANSFORMS, dict(CROP, aspect_ratio_range=(0, 1)), 'aspect_ratio_range'),
        (TRANSFORMS, dict(type='RandomColor', solarize_threshold=-1), 'solarize_threshold=-1'),
    ],
)
def test_a_part_is_not_made(registry, cfg, named):
    with pytest.raises(UserError, match=named):
        registry.build({'_scope_': 'dense_ssl', **cfg})


@pytest.mark.parametrize(
    'options, named',
    [
        (dict(queue_len=0), 'queue_len'),
        (dict(projector=dict(DENSE, hidden_channels=0)), 'hidden_channels=0'),
        (dict(backbone=dict(type='ResNet', depth=51)), 'depth=51: ResNet has 18, 34, 50, 101, 152'),
        (dict(backbone=dict(type='ResNett', depth=50)), "type='ResNett'.*did you mean ResNet"),
        (dict(head=dict(type='QueueContrastHed')), 'did you mean QueueContrastHead'),
        (dict(head=dict(type='Nothing_like_it')), 'custom_imports'),
    ],
)
def test_a_model_is_not_made(options, named):
    with pytest.raises(UserError, match=named):
        densecl(**options)


@pytest.mark.parametrize(
    'size, num_grid, named',
    [
        (16, 50, 'num_grid=50: the feature map has only 4 x 4'),
        (4, None, 'single cell.*--view-size'),
        (16, 1, 'single cell'),
    ],
)
def test_views_without_anything_dense(size, num_grid, named):
    views = [torch.zeros(2, 3, size, size)] * 2
    with pytest.raises(UserError, match=named):
        densecl(projector=dict(DENSE, num_grid=num_grid)).loss(views, [])
    with pytest.raises(UserError, match='single cell'):
        box = torch.tensor([0.0, 0, 1, 1]).expand(2, 2, 4)
        MODELS.build(PIXPRO).loss([x[..., :4, :4] for x in views], samples(box))


def test_optimizer():
    with pytest.raises(UserError, match='momentum=1'):
        LARS(densecl().parameters(), lr=1, momentum=1)


@pytest.mark.parametrize(
    'key, value, meant',
    [
        ('optim_wrapper.optimizer.type', 'SDG', 'SGD'),
        ('optim_wrapper.type', 'OptimWraper', 'OptimWrapper'),
        ('param_scheduler.0.type', 'CosineAnealingLR', 'CosineAnnealingLR'),
        ('default_hooks.checkpoint.type', 'CheckpointHok', 'CheckpointHook'),
        ('train_dataloader.dataset.type', 'UnlabeldImages', 'UnlabeledImages'),
    ],
)
def test_a_misspelt_name(tmp_path, key, value, meant):
    from .runs import image_folder

    cfg = config(DENSECL, image_folder(tmp_path / 'images', 4), tmp_path / 'run')
    cfg.merge_from_dict({key: value})
    with pytest.raises(UserError, match=f"type='{value}'.*did you mean {meant}"):
        Runner.from_cfg(cfg).train()
