"""FPN levels and towers into FCOS and RetinaNet, Mask R-CNN's FPN too."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import dense_ssl  # noqa: F401
from dense_ssl.registry import MODELS
from dense_ssl.transfer import TransferError, match_parts, plan_parts

pytest.importorskip('mmdet')
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SMALL = dict(depth=18, in_channels=[64, 128, 256, 512])


def pretrained(name: str) -> dict:
    """Random weights of a pre-training config, R18."""
    cfg = Config.fromfile(CONFIGS / name)
    cfg.model.backbone.depth = SMALL['depth']
    cfg.model.neck.in_channels = SMALL['in_channels']
    torch.manual_seed(1)
    model = MODELS.build({'_scope_': 'dense_ssl', **cfg.model})
    return model.state_dict()


def detector(name: str, **options):
    from mmdet.registry import MODELS as DETECTORS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(CONFIGS / 'benchmarks' / 'mmdetection' / name)
    cfg.model.backbone.depth = SMALL['depth']
    cfg.model.neck.in_channels = SMALL['in_channels']
    cfg.merge_from_dict(options)
    torch.manual_seed(2)
    return DETECTORS.build({'_scope_': 'mmdet', **cfg.model})


def transferred(model, weights) -> dict:
    """Target key -> True if it took part, by exact equality."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    match_parts(model, weights, plan_parts(model, weights)).apply()
    return {k: not torch.equal(v, before[k]) for k, v in model.state_dict().items() if v.dim() > 1}


@pytest.mark.parametrize(
    'target', ['fcos_r50_fpn_1x_coco.py', 'retinanet_r50_fpn-towers_1x_coco.py']
)
def test_towers_and_fpn_of_pixpro(target):
    weights = pretrained('pixpro/pixpro-fpn-head_resnet50_8xb128-coslr-100e_in1k.py')
    model = detector(target)
    changed = transferred(model, weights)
    state = model.state_dict()
    for key, value in weights.items():
        if key.startswith('neck.'):
            assert torch.equal(state[key], value), key
        if key.startswith('tower.'):
            goal = key.replace('tower.', 'bbox_head.')
            assert torch.equal(state[goal], value), key
    # what pre-training did not have stays as initialised: P7, the fourth
    # convolution of a tower, the predictions
    left = sorted(k for k, c in changed.items() if not c)
    assert all(
        k.startswith(('neck.fpn_convs.4.', 'bbox_head.cls_convs.3.', 'bbox_head.reg_convs.3.'))
        or '_convs' not in k
        for k in left
    ), left
    assert all(changed[k] for k in changed if k.startswith('backbone.'))


def test_fpn_of_mcl_starts_one_level_finer():
    weights = pretrained('mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py')
    model = detector('fcos_r50_fpn_1x_coco.py')
    transferred(model, weights)
    state = model.state_dict()
    for name in ('lateral_convs', 'fpn_convs'):
        for i in range(3):
            for kind in ('conv.weight', 'bn.running_var', 'bn.bias'):
                assert torch.equal(
                    state[f'neck.{name}.{i}.{kind}'], weights[f'neck.{name}.{i + 1}.{kind}']
                )


def test_fpn_that_starts_too_coarse_is_refused():
    weights = pretrained('pixpro/pixpro-fpn-head_resnet50_8xb128-coslr-100e_in1k.py')
    model = detector('mask-rcnn_r50_fpn_1x_coco.py')
    with pytest.raises(TransferError, match='neck'):
        match_parts(model, weights, plan_parts(model, weights))


def test_part_that_is_not_there():
    weights = pretrained('mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py')
    model = detector('fcos_r50_fpn_1x_coco.py')
    with pytest.raises(TransferError, match="'tower' was asked for"):
        plan_parts(model, weights, parts=['backbone', 'tower'])
