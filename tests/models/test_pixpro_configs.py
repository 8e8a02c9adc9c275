"""Every PixPro model and optimiser builds and takes a step."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from dense_ssl.engine import LARS
from dense_ssl.registry import MODELS

from .test_pixpro import BOXES
from .tiny import samples

CONFIGS = sorted((Path(__file__).parents[2] / 'configs/pixpro').glob('*.py'))
NAMES = [p.stem for p in CONFIGS]
REQUIRED = [
    f'{method}_resnet50_8xb128-coslr-{schedule}'
    for method, schedule in (
        ('pixpro', '100e_in1k'),
        ('pixpro', '400e_in1k'),
        ('pixpro', '800e_coco'),
        ('pixpro', '100e_folder'),
        ('pixpro-inst', '100e_in1k'),
        ('pixcontrast', '100e_in1k'),
        ('pixcontrast', '800e_coco'),
        ('pixcontrast', '100e_folder'),
        ('pixpro-fpn', '100e_in1k'),
        ('pixpro-fpn', '100e_folder'),
        ('pixpro-fpn-head', '100e_in1k'),
        ('pixpro-fpn-head', '100e_folder'),
    )
]


def shrink(model):
    """ResNet-18 and narrow layers instead of ResNet-50."""
    model = copy.deepcopy(model)
    model.backbone.depth = 18
    if model.get('neck'):
        model.neck.in_channels = [64, 128, 256, 512]
        model.neck.out_channels = 16
    if model.get('tower'):
        model.tower.update(in_channels=16, feat_channels=16)
    for key, part in model.items():
        if key.endswith(('projector', 'predictor')):
            part.hidden_channels = 32
            part.out_channels = 16
            part.in_channels = {'instance_projector': 512, 'instance_predictor': 16}.get(
                key, 16 if model.get('neck') else 512
            )
        if key == 'propagation':
            part.in_channels = 16
    if 'queue_len' in model:
        model.queue_len = 64
    return model


def distinct():
    """One config of each model and optimiser."""
    found = {}
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        found.setdefault(str(cfg.model) + str(cfg.optim_wrapper.optimizer), path)
    return list(found.values())


def test_the_family_is_complete():
    assert set(REQUIRED) <= set(NAMES)


@pytest.mark.parametrize('path', distinct(), ids=lambda p: p.stem)
def test_takes_a_step(path):
    cfg = Config.fromfile(path)
    small = shrink(cfg.model)
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        torch.manual_seed(0)
        model = MODELS.build(small)
        model.init_weights()
        model.momentum_encoder.set_total_steps(10)
        # mixed precision needs a GPU; the rest is as configured
        optimizer_cfg = copy.deepcopy(cfg.optim_wrapper)
        optimizer_cfg.type = 'OptimWrapper'
        optimizer_cfg.pop('loss_scale', None)
        wrapper = build_optim_wrapper(model, optimizer_cfg)
        model.momentum_encoder.attach(wrapper.optimizer)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    log = model.train_step(
        dict(
            inputs=[torch.randint(256, (4, 3, 64, 64)) for _ in range(2)],
            data_samples=samples(BOXES),
        ),
        wrapper,
    )
    assert all(v.isfinite().all() for v in log.values())
    after = model.state_dict()
    assert model.momentum_encoder.num_updates == 1
    for part in ('backbone.conv1.weight', 'momentum_encoder.backbone.conv1.weight'):
        assert not torch.equal(before[part], after[part])
    if isinstance(wrapper.optimizer, LARS):
        for group in wrapper.optimizer.param_groups:
            (p,) = group['params']
            assert group['weight_decay'] == (0.0 if p.dim() == 1 else 1e-5)
        assert wrapper.optimizer.exclude_1d


GRIDS = {
    'fpn': [(28, 28), (28, 28), (14, 14), (7, 7)],
    'fpn-head': 2 * [(28, 28), (14, 14), (7, 7), (4, 4)],
}


@pytest.mark.parametrize('path', distinct(), ids=lambda p: p.stem)
def test_real_sizes_fit_together(path):
    """The configured networks on tensors of full size without numbers."""
    cfg = Config.fromfile(path)
    if cfg.model.type == 'DenseCL':
        return
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        model = MODELS.build(cfg.model).to('meta')
    image = torch.empty(4, 3, 224, 224, device='meta')
    variant = path.stem.split('_')[0].partition('-')[2]
    for networks in (model, model.momentum_encoder):
        encoding = model.encode(networks, image)
        grids = [tuple(model.predict(c).shape) for c in encoding.cells]
        assert grids == [(4, 256, *size) for size in GRIDS.get(variant, [(7, 7)])]
    if variant == 'inst':
        assert model.instance_predictor(encoding.image).shape[1] == 256


@pytest.mark.parametrize('path', CONFIGS, ids=NAMES)
def test_mixed_precision_where_there_are_gpus(path):
    """On folders it is left to --amp: those run without a GPU, too."""
    wrapper = Config.fromfile(path).optim_wrapper
    amp = '8xb128' in path.stem and not path.stem.endswith('_folder')
    assert wrapper.type == ('AmpOptimWrapper' if amp else 'OptimWrapper')
