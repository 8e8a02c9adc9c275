"""PixContrast and PixPro as a whole."""

import copy
from math import cos, pi

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dense_ssl.engine import LARS
from dense_ssl.registry import MODELS
from tests.models.tiny import samples

PROJECTOR = dict(type='PixelProjector', in_channels=8, hidden_channels=16, out_channels=6)
INSTANCE = dict(instance_projector=PROJECTOR, instance_predictor=dict(PROJECTOR, in_channels=6))
# no overlap for the last image; the others shifted, and flipped
BOXES = torch.tensor(
    [
        [[0.0, 0.0, 0.6, 0.6], [0.3, 0.2, 1.0, 0.9]],
        [[0.7, 0.1, 0.2, 0.9], [0.1, 0.1, 0.8, 0.8]],
        [[0.0, 0.0, 0.9, 1.0], [0.2, 0.9, 0.7, 0.1]],
        [[0.0, 0.0, 0.3, 0.3], [0.6, 0.6, 1.0, 1.0]],
    ]
)


def build(kind='PixPro', **options):
    cfg = dict(type=f'dense_ssl.{kind}', backbone=dict(type='TinyBackbone'), projector=PROJECTOR)
    if kind == 'PixPro':
        cfg['propagation'] = dict(type='PixelPropagation', in_channels=6)
    cfg.update(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.momentum_encoder.set_total_steps(20)
    return model


def views(n=4, size=(16, 24), dtype=torch.float32, seed=1):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, *size, generator=g, dtype=dtype) for _ in range(2)]


def total(losses):
    return sum(v for k, v in losses.items() if 'loss' in k)


def plain_pairs(boxes_a, boxes_b, size, radius=0.7):
    """Pairs (N, S, S) by broadcasting over meshes of centres."""
    h, w = size

    def centres(boxes):
        x1, y1, x2, y2 = (c[:, None, None] for c in boxes.t())
        j = (torch.arange(w, dtype=boxes.dtype) + 0.5) / w
        i = (torch.arange(h, dtype=boxes.dtype) + 0.5) / h
        x = (x1 + (x2 - x1) * j[None, None, :]).expand(-1, h, -1)
        y = (y1 + (y2 - y1) * i[None, :, None]).expand(-1, -1, w)
        return torch.stack([x.flatten(1), y.flatten(1)], 2)

    def diagonal(boxes):
        return (
            ((boxes[:, 2] - boxes[:, 0]) / w) ** 2 + ((boxes[:, 3] - boxes[:, 1]) / h) ** 2
        ).sqrt()

    unit = torch.stack([diagonal(boxes_a), diagonal(boxes_b)]).amax(0)
    gap = (centres(boxes_a)[:, :, None] - centres(boxes_b)[:, None]).norm(dim=3)
    return gap / unit[:, None, None] < radius


class Plain:
    """PixPro or PixContrast in the released code's order, step by step."""

    def __init__(self, model, kind):
        self.kind = kind
        self.online = copy.deepcopy(
            nn.ModuleDict({k: m for k, m in model.online_networks().items() if m is not None})
        )
        self.momentum = copy.deepcopy(self.online).requires_grad_(False)
        self.ppm = copy.deepcopy(getattr(model, 'propagation', None))
        self.predictor = copy.deepcopy(getattr(model, 'instance_predictor', None))

    def parameters(self):
        parts = [self.online, self.ppm, self.predictor]
        return [p for m in parts if m is not None for p in m.parameters()]

    def encode(self, nets, view):
        f = nets['backbone'](view)[-1]
        image = None
        if 'instance_projector' in nets:
            image = nets['instance_projector'](f)
        return nets['projector'](f), image

    def step(self, inputs, boxes, k, total):
        """Both losses; the momentum networks follow *before* they run."""
        online = [self.encode(self.online, v) for v in inputs]
        if self.ppm is not None:
            propagated = []
            for x, _ in online:
                n, c, h, w = x.shape
                u = F.normalize(x, dim=1).reshape(n, c, h * w)
                s = torch.einsum('nci,ncj->nij', u, u).relu() ** 2
                g = F.normalize(self.ppm.value(x), dim=1).reshape(n, c, -1)
                propagated.append(torch.einsum('nij,ncj->nci', s, g))
        m = 1 - 0.01 * (cos(pi * k / total) + 1) / 2
        with torch.no_grad():
            for p, q in zip(self.momentum.parameters(), self.online.parameters()):
                p.mul_(m).add_(q, alpha=1 - m)
            target = [self.encode(self.momentum, v) for v in inputs]
        pixel, instance = 0.0, 0.0
        for a, b in ((0, 1), (1, 0)):
            size = inputs[0].shape[-2] // 4, inputs[0].shape[-1] // 4
            pairs = plain_pairs(boxes[:, a], boxes[:, b], size).double()
            key = F.normalize(target[b][0].flatten(2), dim=1)
            if self.ppm is not None:
                y = F.normalize(propagated[a], dim=1)
                c = torch.einsum('nci,ncj->nij', y, key) * pairs
                pixel = pixel - 2 * (c.sum((1, 2)) / (pairs.sum((1, 2)) + 1e-6)).mean()
            else:
                y = F.normalize(online[a][0].flatten(2), dim=1)
                e = (torch.einsum('nci,ncj->nij', y, key) / 0.3).exp()
                has = pairs.sum(2) > 0
                ratio = (e * pairs).sum(2) / e.sum(2)
                per_cell = -torch.where(has, ratio, 1.0).log()
                pixel = pixel + 0.5 * (per_cell.sum(1) / has.sum(1).clamp(min=1)).mean()
            if self.predictor is not None:
                q = self.predictor(online[a][1]).mean((2, 3))
                t = target[b][1].mean((2, 3))
                instance = instance - 2 * (F.normalize(q) * F.normalize(t)).sum(1).mean()
        return pixel, instance


@pytest.mark.parametrize(
    'kind, options',
    [
        ('PixContrast', {}),
        ('PixPro', {}),
        ('PixPro', INSTANCE),
        ('PixPro', dict(INSTANCE, instance_weight=0.5)),
    ],
)
def test_three_steps_in_the_released_order(kind, options):
    model = build(kind, **options).double()
    plain = Plain(model, kind)
    weight = options.get('instance_weight', 1.0)
    ours = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    model.momentum_encoder.attach(ours)
    theirs = torch.optim.SGD(plain.parameters(), lr=0.5)
    assert len(ours.param_groups[0]['params']) == len(plain.parameters())
    for k in range(3):
        inputs = views(dtype=torch.float64, seed=k)
        got = model(inputs, samples(BOXES.double()), mode='loss')
        pixel, instance = plain.step(inputs, BOXES.double(), k, 20)
        assert got['loss_pixel'].item() == pytest.approx(pixel.item(), rel=1e-9)
        if options:
            assert got['loss_instance'].item() == pytest.approx(weight * instance.item(), rel=1e-9)
        for optimizer, loss in ((ours, total(got)), (theirs, pixel + weight * instance)):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    # every weight and every running statistic, of both sides
    online = model.state_dict()
    for name, value in plain.online.state_dict().items():
        assert torch.allclose(online[name], value, rtol=1e-8), name
    for name, value in plain.momentum.named_buffers():
        assert torch.allclose(online[f'momentum_encoder.{name}'], value), name
    # ours already holds the last step, theirs will at the next forward
    m = 1 - 0.01 * (cos(pi * 3 / 20) + 1) / 2
    for name, value in plain.momentum.named_parameters():
        want = m * value + (1 - m) * dict(plain.online.named_parameters())[name]
        assert torch.allclose(online[f'momentum_encoder.{name}'], want), name


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
def test_statistics(kind):
    model = build(kind)
    losses = model.loss(views(), samples(BOXES))
    pairs = plain_pairs(BOXES[:, 0], BOXES[:, 1], (4, 6))
    assert losses['positive_pairs'].item() == pytest.approx(pairs.sum().item() / 4)
    assert losses['no_overlap'].item() == 0.25
    if kind == 'PixPro':  # both directions; the mean over 3 images, not 4
        assert losses['positive_cosine'].item() == pytest.approx(
            losses['loss_pixel'].item() / -4 * 4 / 3, rel=1e-4
        )
    log = model.parse_losses(losses)[1]
    assert set(log) == {'loss', *losses}
    assert log['loss'] == losses['loss_pixel']


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
def test_a_batch_without_overlap_is_zero(kind):
    model = build(kind)
    apart = BOXES[3:].expand(4, -1, -1)
    losses = model.loss(views(), samples(apart))
    assert losses['loss_pixel'].item() == 0
    assert losses['no_overlap'].item() == 1
    assert losses['positive_cosine'].item() == 0
    losses['loss_pixel'].backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert (p.grad == 0).all(), name


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
def test_half_precision(kind):
    model = build(kind, **(INSTANCE if kind == 'PixPro' else {}))
    full = model.loss(views(), samples(BOXES))
    with torch.autocast('cpu', torch.bfloat16):
        half = model.loss(views(), samples(BOXES))
    for key, value in half.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(full[key].item(), abs=0.05)
    total(half).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
def test_views_are_exchangeable(kind):
    model = build(kind).eval()
    a, b = views()
    there = model.loss([a, b], samples(BOXES))
    back = model.loss([b, a], samples(BOXES.flip(1)))
    assert there['loss_pixel'].item() == pytest.approx(back['loss_pixel'].item(), rel=1e-5)


def test_similarity_correspondence():
    model = build('PixContrast', correspondence=dict(type='SimilarityCorrespondence')).eval()
    losses = model.loss(views(), None)  # needs no boxes
    assert losses['positive_pairs'].item() == 24
    assert losses['no_overlap'].item() == 0
    a, b = views()
    online, target = (model.backbone(x)[0].flatten(2) for x in (a, b))
    nearest = torch.einsum(
        'nci,ncj->nij', F.normalize(online, dim=1), F.normalize(target, dim=1)
    ).argmax(2)
    x, y = (
        F.normalize(model.projector([f.view(4, 8, 4, 6)])[0].flatten(2), dim=1)
        for f in (online, target)
    )
    logits = torch.einsum('nci,ncj->nij', x, y) / 0.3
    half = 0.5 * F.cross_entropy(logits.flatten(0, 1), nearest.flatten())
    back = model.loss([b, a], None)
    other = torch.einsum(
        'nci,ncj->nij', F.normalize(target, dim=1), F.normalize(online, dim=1)
    ).argmax(2)
    half = half + 0.5 * F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), other.flatten())
    assert losses['loss_pixel'].item() == pytest.approx(half.item(), rel=1e-4)
    assert back['loss_pixel'].item() == pytest.approx(half.item(), rel=1e-4)


class NoSync(TorchDispatchMode):
    """Raise where the host has to read numbers of a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ('_local_scalar_dense', 'nonzero', 'masked_select'), name
        if name == 'index':  # by a mask: as many results as it has ones
            assert all(i is None or i.dtype != torch.bool for i in args[1]), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    'sync', [lambda x: x.sum().item(), lambda x: bool((x > 0).any()), lambda x: x[x > 0]]
)
def test_the_detector_of_syncs(sync):
    with NoSync(), pytest.raises(AssertionError):
        sync(torch.ones(3))


@pytest.mark.parametrize('kind', ['PixContrast', 'PixPro'])
def test_a_step_never_waits_for_the_device(kind):
    model = build(kind, **(INSTANCE if kind == 'PixPro' else {}))
    optimizer = LARS(
        [p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=1e-5, foreach=True
    )  # as on an accelerator
    model.momentum_encoder.attach(optimizer)
    inputs, batch = views(), samples(BOXES)
    with NoSync():
        for _ in range(2):
            total(model.loss(inputs, batch)).backward()
            optimizer.step()
    assert model.momentum_encoder.num_updates == 2


def test_the_instance_branch_needs_both_parts():
    with pytest.raises(ValueError, match='set both, or none'):
        build(instance_projector=PROJECTOR)


def test_the_instance_branch_needs_a_head_that_compares_images():
    with pytest.raises(ValueError, match='PixelContrastHead has no image_loss'):
        build(head=dict(type='PixelContrastHead'), **INSTANCE)


def test_the_head_scales_cells_and_images_alike():
    losses = []
    for weight in (2.0, 0.5):
        model = build(head=dict(type='PixelConsistencyHead', loss_weight=weight), **INSTANCE)
        losses.append(model.loss(views(), samples(BOXES)))
    for key in ('loss_pixel', 'loss_instance'):
        assert losses[0][key].item() == 4 * losses[1][key].item() != 0


def test_views_without_boxes():
    with pytest.raises(ValueError, match='algorithm_keys'):
        build().loss(views(), [object()] * 4)
