"""A backbone and the network that reads it."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from dense_ssl.errors import UserError
from dense_ssl.models import MCL
from dense_ssl.models.widths import map_shapes
from dense_ssl.registry import MODELS
from tests.engine.runs import CONFIGS, Config

CASES = [
    ('densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py', 'projector', 2048, 512),
    ('pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py', 'projector', 2048, 512),
    (
        'mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py',
        'neck',
        [256, 512, 1024, 2048],
        [64, 128, 256, 512],
    ),
]

MODELS_OF_EACH_KIND = [
    'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
    'densecl/mocov2_resnet50_8xb32-coslr-200e_in1k.py',
    'pixpro/pixcontrast_resnet50_8xb128-coslr-100e_in1k.py',
    'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py',
    'pixpro/pixpro-inst_resnet50_8xb128-coslr-100e_in1k.py',
    'pixpro/pixpro-fpn_resnet50_8xb128-coslr-100e_in1k.py',
    'pixpro/pixpro-fpn-head_resnet50_8xb128-coslr-100e_in1k.py',
    'mcl/mcl_resnet50_32xb128-coslr-100e_in1k.py',
]


def build(name, reader=None, in_channels=None, **backbone):
    cfg = Config.fromfile(CONFIGS / name).model
    cfg.backbone.update(backbone)
    if reader:
        cfg[reader].in_channels = in_channels
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        return MODELS.build(cfg)


@pytest.mark.parametrize('name, reader, wanted, given', CASES)
def test_another_depth_is_named(name, reader, wanted, given):
    with pytest.raises(UserError) as error:
        build(name, reader, wanted, depth=18)
    text = str(error.value)
    assert f'model.{reader} takes maps of {wanted} channels' in text
    assert f'set model.{reader}.in_channels={given}' in text


@pytest.mark.parametrize('name', MODELS_OF_EACH_KIND)
def test_every_network_follows_another_backbone(name):
    model = build(name, depth=18, base_channels=32, stem_channels=32).train()
    views = [torch.randn(4, 3, 64, 64) for _ in range(8 if isinstance(model, MCL) else 2)]
    samples = [DataSample() for _ in range(4)]
    for sample in samples:
        sample.view_boxes = torch.tensor([[0.0, 0, 64, 64]] * 2)
    for parameter in model.momentum_encoder.parameters():
        parameter.requires_grad = False
    model.momentum_encoder.check_followed = lambda: None
    losses = model.loss(views, samples)
    sum(v for k, v in losses.items() if k.startswith('loss')).backward()
    unmoved = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and p.grad is None and not n.startswith('backbone.fc')
    ]
    assert unmoved == []


def test_each_follows_what_it_reads_itself():
    """The instance branch reads the backbone past the neck, a projector the tower before it."""
    cfg = Config.fromfile(CONFIGS / MODELS_OF_EACH_KIND[6]).model
    cfg.backbone.update(depth=18, base_channels=32, stem_channels=32)
    cfg.neck.out_channels, cfg.tower.feat_channels = 24, 40
    branch = dict(type='PixelProjector', in_channels=None, hidden_channels=8, out_channels=16)
    cfg.update(instance_projector=branch, instance_predictor=branch)
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        model = MODELS.build(cfg)

    def read(network):
        return next(network.parameters()).shape[1]

    assert [read(m) for m in model.neck.lateral_convs] == [64, 128, 256]  # from its second map on
    assert (read(model.tower), read(model.projector)) == (24, 40)
    assert (read(model.instance_projector), read(model.instance_predictor)) == (256, 16)
    assert read(model.propagation) == model.projector.out_channels == 256


def test_vectors_are_named():
    cfg = Config.fromfile(CONFIGS / CASES[0][0]).model
    cfg.backbone = dict(type='ConvNeXt', arch='atto')
    with (
        DefaultScope.overwrite_default_scope('dense_ssl'),
        pytest.raises(UserError, match='gives vectors.*gap_before_final_norm=False'),
    ):
        MODELS.build(cfg)


def test_asking_computes_and_changes_nothing():
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, 2), torch.nn.BatchNorm2d(5)).train()
    before = copy.deepcopy(backbone.state_dict())
    assert map_shapes(backbone) == [(1, 5, 111, 111)]
    assert backbone.training and all(m.training for m in backbone)
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_who_cannot_be_asked_is_let_through():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return [x.sum().item()]

    assert map_shapes(Odd()) is None
