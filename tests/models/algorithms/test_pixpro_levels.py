"""Pixel losses on FPN levels and through the towers of dense detectors."""

import pytest
import torch
from torch import nn

from dense_ssl.registry import MODELS
from tests.models.tiny import samples

from .test_pixpro import BOXES, total

mmdet = pytest.importorskip('mmdet')


@MODELS.register_module(force=True)
class LevelsBackbone(nn.Module):
    """(N, 3, H, W) -> maps of 4 channels at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 4, 1)
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, 2, 1) for _ in range(3))

    def forward(self, x):
        maps = [self.stem(x)]
        for conv in self.convs:
            maps.append(conv(maps[-1].relu()))
        return tuple(maps)


FCOS_FPN = dict(
    type='mmdet.FPN',
    in_channels=[4] * 4,
    out_channels=8,
    start_level=1,
    add_extra_convs='on_output',
    relu_before_extra_convs=True,
    num_outs=4,
    norm_cfg=dict(type='BN'),
)
MASK_RCNN_FPN = dict(
    type='mmdet.FPN', in_channels=[4] * 4, out_channels=8, num_outs=4, norm_cfg=dict(type='BN')
)
TOWER = dict(type='DenseTower', in_channels=8, feat_channels=8)


def build(kind='PixPro', num_levels=4, **options):
    cfg = dict(
        type=f'dense_ssl.{kind}',
        backbone=dict(type='LevelsBackbone'),
        projector=dict(
            type='PixelProjector',
            in_channels=8,
            hidden_channels=6,
            out_channels=5,
            num_levels=num_levels,
        ),
        levels=(0, 1, 2, 3),
        **options,
    )
    if kind == 'PixPro':
        cfg['propagation'] = dict(type='PixelPropagation', in_channels=5)
    torch.manual_seed(0)
    return MODELS.build(cfg)


def images(size=(64, 96)):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(4, 3, *size, generator=g) for _ in range(2)]


def sizes(encoding):
    return [tuple(x.shape[-2:]) for x in encoding.cells]


def test_the_papers_levels():
    """P3 to P6 of FCOS's pyramid, each tower on each of them."""
    model = build(neck=FCOS_FPN, tower=TOWER, num_levels=8)
    with torch.no_grad():
        encoding = model.encode(model, torch.zeros(2, 3, 224, 224))
    assert sizes(encoding) == 2 * [(28, 28), (14, 14), (7, 7), (4, 4)]


def test_mask_rcnn_levels():
    """P2 to P5, P2 averaged to the grid of P3."""
    model = build(neck=MASK_RCNN_FPN, max_grid=28)
    with torch.no_grad():
        encoding = model.encode(model, torch.zeros(2, 3, 224, 224))
    assert sizes(encoding) == [(28, 28), (28, 28), (14, 14), (7, 7)]


def test_pooling_keeps_the_layout():
    model = build(neck=MASK_RCNN_FPN, max_grid=3)
    x = torch.arange(24.0).view(1, 1, 4, 6)
    assert model.fit_grid(x).flatten().tolist() == [3.5, 5.5, 7.5, 15.5, 17.5, 19.5]
    assert torch.equal(model.fit_grid(x[..., :3, :3]), x[..., :3, :3])


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
@pytest.mark.parametrize(
    'options',
    [
        dict(neck=FCOS_FPN, tower=TOWER, num_levels=8),
        dict(neck=FCOS_FPN),
        dict(neck=MASK_RCNN_FPN, max_grid=6),
    ],
)
def test_every_weight_learns(kind, options):
    """DDP refuses parameters without a gradient."""
    model = build(kind, **options)
    losses = model.loss(images(), samples(BOXES))
    total(losses).backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, name
            if not name.endswith('bias'):  # a norm may cancel those
                assert p.grad.abs().sum() > 0, name
    twins = {
        k[len('momentum_encoder.') :]
        for k in model.state_dict()
        if k.startswith('momentum_encoder.')
    }
    assert twins - {'updates'} == {
        k
        for k in model.state_dict()
        if k.startswith(('backbone.', 'neck.', 'tower.', 'projector.'))
    }


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
def test_the_loss_is_the_mean_of_the_levels(kind):
    model = build(kind, neck=FCOS_FPN).eval()
    inputs, batch = images(), samples(BOXES)
    together = model.loss(inputs, batch)
    alone = []
    mlps = model.projector.mlps, model.momentum_encoder.projector.mlps
    for level in range(4):
        model.levels = (level,)
        for projector, own in zip((model.projector, model.momentum_encoder.projector), mlps):
            projector.mlps = nn.ModuleList([own[level]])
        alone.append(model.loss(inputs, batch))
    for key, value in together.items():
        mean = sum(x[key].item() for x in alone) / 4
        assert value.item() == pytest.approx(mean, rel=1e-4, abs=1e-6), key


def test_number_of_levels_must_fit():
    with pytest.raises(ValueError, match='projector.num_levels=8'):
        build(neck=FCOS_FPN, tower=TOWER).loss(images(), samples(BOXES))


def pick(model, prefix):
    return {k[len(prefix) :]: v for k, v in model.state_dict().items() if k.startswith(prefix)}


@pytest.mark.parametrize('head', ['FCOSHead', 'RetinaHead'])
def test_weights_fit_the_detector(head):
    """Every FPN and tower weight has its place in mmdet, by the same name."""
    model = build(neck=FCOS_FPN, tower=TOWER, num_levels=8)
    bbox_head = MODELS.build(
        dict(
            type=f'mmdet.{head}',
            num_classes=3,
            in_channels=8,
            feat_channels=8,
            stacked_convs=3,
            norm_cfg=dict(type='BN'),
        )
    )
    neck = MODELS.build(dict(FCOS_FPN, num_outs=5))
    for target, source, missing in (
        (bbox_head.cls_convs, pick(model, 'tower.cls_convs.'), set()),
        (bbox_head.reg_convs, pick(model, 'tower.reg_convs.'), set()),
        # P7 alone is new
        (
            neck,
            pick(model, 'neck.'),
            {
                f'fpn_convs.4.{k}'
                for k in (
                    'conv.weight',
                    'bn.weight',
                    'bn.bias',
                    'bn.running_mean',
                    'bn.running_var',
                )
            },
        ),
    ):
        assert source
        report = target.load_state_dict(source, strict=False)
        assert not report.unexpected_keys
        assert set(report.missing_keys) == missing
        for key, value in source.items():
            assert torch.equal(target.state_dict()[key], value)
    # the same numbers come out
    maps = [torch.randn(2, 8, s, s) for s in (8, 4)]
    model.tower.eval(), bbox_head.eval()
    want = model.tower(maps)
    for i, x in enumerate(maps):
        for j, convs in enumerate((bbox_head.cls_convs, bbox_head.reg_convs)):
            out = x
            for conv in convs:
                out = conv(out)
            assert torch.equal(out, want[2 * j + i])


def test_towers_without_norm():
    tower = MODELS.build(
        dict(type='DenseTower', in_channels=8, feat_channels=4, stacked_convs=2, norm_cfg=None)
    )
    assert set(tower.state_dict()) == {
        f'{t}_convs.{i}.conv.{p}'
        for t in ('cls', 'reg')
        for i in (0, 1)
        for p in ('weight', 'bias')
    }
