"""MCL's checkpoint feeds a detector's backbone, FPN and box head."""

import pytest
import torch
from mmengine.config import Config

from dense_ssl.registry import MODELS
from dense_ssl.transfer import load_parts, plan_parts
from tests.engine.runs import CONFIGS

mmdet = pytest.importorskip('mmdet')


def small(cfg: Config) -> Config:
    """ResNet-18, which keeps the names and the FPN's shape."""
    cfg.model.backbone.depth = 18
    cfg.model.neck.in_channels = [64, 128, 256, 512]
    return cfg


def test_mask_rcnn_takes_backbone_fpn_and_box_head():
    from mmdet.registry import MODELS as DETECTORS
    from mmdet.utils import register_all_modules

    cfg = small(Config.fromfile(CONFIGS / 'mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py'))
    weights = MODELS.build(dict(cfg.model, _scope_='dense_ssl')).state_dict()
    for tensor in weights.values():
        if tensor.is_floating_point():
            tensor.normal_()

    register_all_modules(init_default_scope=False)
    cfg = small(Config.fromfile(CONFIGS / 'benchmarks/mmdetection/mask-rcnn_r50_fpn_1x_coco.py'))
    detector = DETECTORS.build(dict(cfg.model, _scope_='mmdet'))
    parts = plan_parts(detector, weights)
    assert [p.name for p in parts] == ['backbone', 'neck', 'region_head']
    load_parts(detector, weights, parts)

    filled = detector.state_dict()
    for ours, theirs in (
        ('backbone.layer4.1.conv2.weight',) * 2,
        ('neck.lateral_convs.2.bn.running_var',) * 2,
        ('neck.fpn_convs.3.conv.weight',) * 2,
        ('region_head.convs.3.bn.weight', 'roi_head.bbox_head.shared_convs.3.bn.weight'),
    ):
        assert torch.equal(weights[ours], filled[theirs])
