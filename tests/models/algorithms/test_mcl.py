"""MCL against slow references, and its modes against each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dense_ssl.models.montage_levels import Montages
from dense_ssl.registry import MODELS
from tests.data_paths import shared_fixtures
from tests.distributed import run_distributed
from tests.models.tiny_mcl import mcl, mcl_config, views

LEVEL_KEYS = [f'loss_level{level}' for level in range(4)]


def total(losses):
    return sum(losses[k] for k in LEVEL_KEYS)


def grads(model):
    return {n: p.grad for n, p in model.named_parameters()}


def slow_embedding(networks, image, fpn_level, ratio):
    """Cells of one montage, by the formulas, on all maps (norms fixed)."""
    maps = networks.backbone(image[None])
    p = None
    for i in (3, 2, 1, 0):
        lateral = networks.neck.lateral_convs[i]
        x = lateral.bn(F.conv2d(maps[i], lateral.conv.weight))
        if p is not None:
            x = x + p.repeat_interleave(2, 2).repeat_interleave(2, 3)
        p = x
        if i == fpn_level:
            break
    out = networks.neck.fpn_convs[fpn_level]
    p = out.bn(F.conv2d(p, out.conv.weight, padding=1))
    side = p.shape[-1] // ratio
    rows = []
    for y in range(ratio):
        for x in range(ratio):
            cell = p[:, :, y * side : (y + 1) * side, x * side : (x + 1) * side]
            for conv in networks.region_head.convs:
                cell = F.conv2d(cell, conv.conv.weight, padding=1)
                cell = conv.bn(cell).relu()
            mlp = networks.region_head.mlp
            z = mlp.bn0(mlp.fc0(cell.mean(dim=(2, 3)))).relu()
            rows.append(mlp.bn1(mlp.fc1(z))[0])
    return rows


def slow_loss(model, sides):
    """All terms, cell by cell."""
    terms = 0.0
    for own, other in ((0, 1), (1, 0)):
        batch = sides[own].counts[0]
        with torch.no_grad():
            targets = [
                slow_embedding(model.momentum_encoder, image, 3, 1)[0]
                for image in sides[other].images[:batch]
            ]
        start = 0
        for level, ratio in enumerate((1, 2, 4, 8)):
            rows = []
            count = sides[own].counts[level]
            for image in sides[own].images[start : start + count]:
                rows += slow_embedding(model, image, 3 - level, ratio)
            start += count
            for row, label in zip(rows, sides[own].labels[level].tolist()):
                predictor = model.predictors[level]
                z = predictor.fc1(predictor.bn0(predictor.fc0(row[None])).relu())[0]
                cosines = torch.stack([(z * t).sum() / z.norm() / t.norm() for t in targets])
                nll = cosines.exp().sum().log() - cosines[label]
                weight = (1 / 2, 1 / 4, 1 / 8, 1 / 8)[level]
                terms = terms + 2 * weight * nll / len(rows)
    return terms


def montages(model, inputs, seed=0):
    torch.manual_seed(seed)
    return model.levels(inputs[:4]), model.levels(inputs[4:])


@pytest.mark.parametrize('mode', ['selected', 'exact'])
def test_loss_and_gradients_equal_the_slow_reference(mode):
    model = mcl(mode=mode).eval()
    sides = montages(model, views())
    want = slow_loss(model, sides)
    want.backward()
    wanted = grads(model)
    model.zero_grad()
    got = total(model.contrast(*sides))
    got.backward()
    torch.testing.assert_close(got, want, rtol=1e-10, atol=0)
    for name, gradient in grads(model).items():
        if name.startswith('momentum_encoder.'):
            assert gradient is None
            continue
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-7, atol=1e-10, msg=name)
        assert gradient.any() or name.startswith('predictors'), name


@pytest.mark.parametrize('training', [False, True])
def test_modes_differ_by_batch_statistics_only(training):
    results = []
    for mode in ('selected', 'exact'):
        model = mcl(mode=mode).train(training)
        torch.manual_seed(0)
        losses = model.loss(views(batch=5), None)
        total(losses).backward()
        results.append((losses, grads(model)))
    (a, grad_a), (b, grad_b) = results
    if training:
        assert abs(total(a) - total(b)) > 1e-6
        return
    for key in LEVEL_KEYS:
        torch.testing.assert_close(a[key], b[key], rtol=1e-12, atol=0)
    for name in grad_a:
        if grad_a[name] is not None:
            torch.testing.assert_close(grad_a[name], grad_b[name], rtol=1e-8, atol=1e-12)


def batches_seen(model, names):
    """How many images or cells each module gets, call by call."""
    seen = {name: [] for name in names}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda m, x, y, name=name: seen[name].append(len(y))
        )
    model.loss(views(batch=5), None)
    return seen


def test_what_each_mode_computes():
    names = [
        'backbone.stages.0',
        'neck.lateral_convs.3',
        'neck.lateral_convs.2',
        'neck.lateral_convs.0',
        'neck.fpn_convs.3',
        'neck.fpn_convs.0',
        'region_head',
    ]
    names += [f'momentum_encoder.{n}' for n in names]
    names += ['predictors.0', 'predictors.3']
    # 5 images and one montage of each ratio a side; two sides
    assert list(batches_seen(mcl(), names).values()) == [
        [8, 8], [8, 8], [3, 3], [1, 1], [5, 5], [1, 1],
        [5, 4, 16, 64] * 2,
        [5, 5], [5, 5], [], [], [5, 5], [], [5, 5],
        [1, 1], [1, 1]  # a tuple of one
    ]  # yapf: disable
    every = [8 * 64, 8 * 16, 8 * 4, 8]
    assert list(batches_seen(mcl(mode='exact'), names).values()) == 2 * [
        [8, 8], [8, 8], [8, 8], [8, 8], [8, 8], [8, 8], every * 2
    ] + [[1, 1], [1, 1]]  # yapf: disable


def test_views_of_cell_size():
    model = mcl().eval()
    inputs = views(batch=4)
    small = [v[:, :, ::r, ::r] for v, r in zip(inputs, (1, 2, 4, 8) * 2)]
    torch.manual_seed(0)
    want = model.loss(inputs, None)
    torch.manual_seed(0)
    got = model.loss(small, None)
    assert all(torch.equal(want[k], got[k]) for k in LEVEL_KEYS)


def joint(sides):
    """Montages of two processes as if drawn in one."""
    batch = sides[0].counts[0]
    parts = [s.images.split(s.counts) for s in sides]
    return Montages(
        torch.cat([x for level in zip(*parts) for x in level]),
        tuple(2 * c for c in sides[0].counts),
        [torch.cat([a, b + batch]) for a, b in zip(*(s.labels for s in sides))],
    )


def _process(rank, world):
    model = mcl().eval()
    sides = montages(model, [v[2 * rank : 2 * rank + 2] for v in views(4)], rank)
    loss = total(model.contrast(*sides))
    loss.backward()
    return loss.item(), {n: g.numpy() for n, g in grads(model).items() if g is not None}


def test_two_processes_equal_the_joint_batch():
    (loss_0, grads_0), (loss_1, grads_1) = run_distributed(_process)
    model = mcl().eval()
    ranks = [montages(model, [v[2 * r : 2 * r + 2] for v in views(4)], r) for r in (0, 1)]
    loss = total(model.contrast(*(joint(s) for s in zip(*ranks))))
    loss.backward()
    assert loss.item() == pytest.approx((loss_0 + loss_1) / 2, rel=1e-12)
    for name, gradient in grads(model).items():
        if gradient is not None:
            mean = (grads_0[name] + grads_1[name]) / 2
            np.testing.assert_allclose(gradient, mean, rtol=1e-8, atol=1e-12)


def test_momentum_moves_after_the_step_as_released():
    data = np.load(shared_fixtures() / 'mcl.npz')
    encoder = mcl(momentum=float(data['ema/base'])).momentum_encoder
    encoder.set_total_steps(int(data['ema/K']))
    for k, want in zip(data['ema/k'], data['ema/momentum']):
        encoder._updates = int(k)
        assert encoder.current_momentum() == pytest.approx(want, abs=1e-15)


def test_first_update_follows_the_first_step():
    model = mcl()
    model.momentum_encoder.copy_online()
    model.momentum_encoder.set_total_steps(10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.momentum_encoder.attach(optimizer)
    before = {n: p.clone() for n, p in model.region_head.named_parameters()}
    total(model.loss(views(), None)).backward()
    optimizer.step()
    for name, p in model.region_head.named_parameters():
        copy = model.momentum_encoder.region_head.get_parameter(name)
        torch.testing.assert_close(copy, 0.99 * before[name] + 0.01 * p)
        assert not torch.equal(p, before[name])


def test_names_in_the_checkpoint():
    keys = set(mcl().state_dict())
    for key in (
        'neck.lateral_convs.0.bn.weight',
        'neck.fpn_convs.3.conv.weight',
        'region_head.convs.1.bn.running_var',
        'predictors.3.fc0.weight',
        'momentum_encoder.region_head.convs.1.conv.weight',
        'momentum_encoder.neck.fpn_convs.0.conv.weight',
    ):
        assert key in keys
    assert not [k for k in keys if k.startswith('momentum_encoder.predictors')]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(mode='fast'), "'selected' or 'exact'"),
        (dict(ratios=(1, 2)), 'one entry for each'),
        (dict(ratios=(1, 2), shares=(1, 1), fpn_levels=(3, 2)), 'head.weights'),
    ],
)
def test_bad_options_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(mcl_config(**options))


def test_bad_views_are_explained():
    model = mcl()
    with pytest.raises(ValueError, match='8 views'):
        model.loss(views(number=2), None)
    with pytest.raises(ValueError, match='multiple of .* stride'):
        model.loss(views(size=72), None)


def test_two_levels():
    model = mcl(
        ratios=(1, 4),
        shares=(1, 1 / 2),
        fpn_levels=(3, 1),
        head=dict(type='MultiLevelContrastHead', weights=(0.5, 0.5)),
    )
    losses = model.loss(views(batch=2, number=4), None)
    assert set(losses) == {'loss_level0', 'loss_level1', 'pos_cos', 'neg_cos'}
