"""DenseCL against independent implementations."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dense_ssl.models import DenseCL
from dense_ssl.models.batch_shuffle import BatchShuffle
from dense_ssl.models.networks.dense_projector import DenseProjection
from tests.canonical import normal, unit
from tests.data_paths import shared_fixtures
from tests.distributed import run_distributed
from tests.models.tiny import densecl, samples


class Given(DenseCL):
    """DenseCL whose networks' outputs are handed in."""

    def encode(self, networks, view):
        return self.online if networks is self else self.target


def given(queue_len, dim, channels, **options):
    model = densecl(
        backbone=dict(type='TinyBackbone', channels=channels),
        projector=dict(
            type='DenseProjector', in_channels=channels, hidden_channels=4, out_channels=dim
        ),
        queue_len=queue_len,
        **options,
    ).double()
    model.__class__ = Given
    return model


def test_numbers_of_the_released_code():
    with np.load(shared_fixtures() / 'densecl.npz') as z:
        tags = sorted({k.split('/')[1] for k in z.files})
        assert tags
        for tag in tags:
            n, c, d, s, k, tau, lam, steps, pointer = z[f'fn/{tag}/config']
            n, c, d, s, k, steps, pointer = map(int, (n, c, d, s, k, steps, pointer))
            name = f'densecl.fn.{tag}.'
            model = given(
                k, d, c, head=dict(type='QueueContrastHead', temperature=tau), loss_lambda=lam
            )
            for queue, x in ((model.queue, 'queue'), (model.dense_queue, 'queue2')):
                queue.features.copy_(unit(normal(name + x, (d, k)), 0).t())
                queue._written = pointer
            for i in range(steps):
                x = {
                    key: normal(f'{name}s{i}.{key}', shape)
                    for key, shape in dict(
                        q_b=(n, c, s, s),
                        k_b=(n, c, s, s),
                        q=(n, d),
                        k=(n, d),
                        q2=(n, d),
                        k2=(n, d),
                        q_grid=(n, d, s * s),
                        k_grid=(n, d, s * s),
                    ).items()
                }
                for key in ('q', 'q_grid'):
                    x[key].requires_grad_()
                grid = (n, d, s, s)
                model.online = (x['q_b'], DenseProjection(x['q'], x['q_grid'].view(grid), x['q2']))
                model.target = (x['k_b'], DenseProjection(x['k'], x['k_grid'].view(grid), x['k2']))
                match = model.correspond(
                    x['q_b'], x['k_b'], model.online[1].dense, model.target[1].dense, None
                )
                losses = model.loss([torch.zeros(n, 3, 4, 4)] * 2, None)
                (losses['loss_global'] + losses['loss_dense']).backward()
                ref = {
                    key: torch.from_numpy(z[f'fn/{tag}/s{i}/{key}'])
                    for key in ('indices', 'grad_q', 'grad_q_grid', 'queue', 'queue2')
                }
                assert losses['loss_global'].item() == pytest.approx(
                    float(z[f'fn/{tag}/s{i}/loss_single_weighted']), rel=1e-9
                )
                assert losses['loss_dense'].item() == pytest.approx(
                    float(z[f'fn/{tag}/s{i}/loss_dense_weighted']), rel=1e-9
                )
                assert torch.equal(match.index, ref['indices'].long())
                for got, want in (
                    (x['q'].grad, ref['grad_q']),
                    (x['q_grid'].grad, ref['grad_q_grid']),
                    (model.queue.features.t(), ref['queue']),
                    (model.dense_queue.features.t(), ref['queue2']),
                ):
                    assert torch.allclose(got, want, atol=1e-9)
                assert model.queue.pointer == z[f'fn/{tag}/s{i}/ptr'][0]
                assert model.dense_queue.pointer == z[f'fn/{tag}/s{i}/ptr'][1]


def norm1(v):
    length = math.sqrt(sum(float(x) ** 2 for x in v))
    return v / length


def slow_losses(out_q, out_k, queue, dense_queue, tau, lam, partner):
    """Nested loops over images, cells and negatives."""

    def nce(q, k, negatives):
        q, k = (v / v.square().sum().sqrt() for v in (q, k))
        logits = [(q * k).sum() / tau]
        logits += [(q * negative).sum() / tau for negative in negatives]
        return torch.log(sum(torch.exp(x - logits[0]) for x in logits))

    (_, q), (_, k) = out_q, out_k
    images = q.global_.shape[0]
    global_ = sum(nce(q.global_[n], k.global_[n], queue) for n in range(images)) / images
    terms = []
    _, _, h, w = q.dense.shape
    kw = k.dense.shape[3]
    for n in range(images):
        for i in range(h):
            for j in range(w):
                t = partner(n, i, j)
                if t is not None:
                    terms.append(
                        nce(q.dense[n, :, i, j], k.dense[n, :, t // kw, t % kw], dense_queue)
                    )
    dense = sum(terms) / max(len(terms), 1)
    return (1 - lam) * global_, lam * dense


def most_similar(map_q, map_k):

    def partner(n, i, j):
        a = norm1(map_q[n, :, i, j])
        cosines = [(a * norm1(b)).sum().item() for b in map_k[n].flatten(1).t()]
        return max(range(len(cosines)), key=cosines.__getitem__)

    return partner


@pytest.mark.parametrize('num_grid', [None, 2])
def test_values_and_gradients_of_a_plain_implementation(num_grid):
    torch.manual_seed(0)
    model = densecl(
        projector=dict(
            type='DenseProjector',
            in_channels=8,
            hidden_channels=6,
            out_channels=4,
            num_grid=num_grid,
        ),
        loss_lambda=0.3,
        queue_len=9,
    ).double()
    for p in model.momentum_encoder.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    views = [torch.randn(2, 3, 12, 16, dtype=torch.float64) for _ in range(2)]
    queue = model.queue.features.clone()
    dense_queue = model.dense_queue.features.clone()

    out_q = model.encode(model, views[0])
    with torch.no_grad():
        out_k = model.encode(model.momentum_encoder, views[1])
    maps = [out_q[0].detach(), out_k[0]]
    if num_grid:  # pool by hand: the mean of each quarter
        h, w = maps[0].shape[-2:]
        cells = [
            [
                (slice(i * h // 2, -(-(i + 1) * h // 2)), slice(j * w // 2, -(-(j + 1) * w // 2)))
                for j in range(2)
            ]
            for i in range(2)
        ]
        maps = [
            torch.stack(
                [torch.stack([m[:, :, a, b].mean((2, 3)) for a, b in row], -1) for row in cells], -2
            )
            for m in maps
        ]
    want = slow_losses(out_q, out_k, queue, dense_queue, 0.2, 0.3, most_similar(*maps))
    parameters = [p for n, p in model.named_parameters() if p.requires_grad]
    expected = torch.autograd.grad(sum(want), parameters)

    got = model.loss(views, None)
    for name, w in zip(('loss_global', 'loss_dense'), want):
        assert got[name].item() == pytest.approx(w.item(), rel=1e-10)
    actual = torch.autograd.grad(got['loss_global'] + got['loss_dense'], parameters)
    for a, e in zip(actual, expected):
        assert torch.allclose(a, e, atol=1e-10)
    # afterwards each queue holds the keys of its own branch
    p = [norm1(x) for x in out_k[1].dense.flatten(2).mean(2)]
    g = [norm1(x) for x in out_k[1].global_]
    assert torch.allclose(model.dense_queue.features[:2], torch.stack(p))
    assert torch.allclose(model.queue.features[:2], torch.stack(g))
    assert torch.equal(model.queue.features[2:], queue[2:])


def test_geometric_correspondence_in_the_loss():
    torch.manual_seed(0)
    model = densecl(correspondence=dict(type='GeometricCorrespondence')).double()
    views = [torch.randn(3, 3, 8, 8, dtype=torch.float64) for _ in range(2)]
    boxes = torch.tensor(
        [
            [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]],  # all, flipped
            [[0.0, 0.0, 0.5, 0.5], [0.0, 0.25, 0.5, 0.75]],  # half
            [[0.0, 0.0, 0.2, 0.2], [0.8, 0.8, 1.0, 1.0]],  # nothing in common
        ]
    )
    table = {0: [1, 0, 3, 2], 1: [None, None, 0, 1], 2: [None] * 4}
    queue = model.queue.features.clone()
    dense_queue = model.dense_queue.features.clone()
    out_q = model.encode(model, views[0])
    with torch.no_grad():
        out_k = model.encode(model.momentum_encoder, views[1])
    want = slow_losses(
        out_q, out_k, queue, dense_queue, 0.2, 0.5, lambda n, i, j: table[n][2 * i + j]
    )
    got = model.loss(views, samples(boxes))
    assert got['loss_dense'].item() == pytest.approx(want[1].item())
    assert got['matched'].item() == pytest.approx(6 / 12)

    nothing = boxes[2:].expand(3, -1, -1)
    lonely = model.loss(views, samples(nothing))
    assert lonely['loss_dense'].item() == 0
    lonely['loss_dense'].backward()
    gradient = model.projector.dense_mlp[2].weight.grad
    assert (gradient == 0).all()


def test_equals_mmpretrain():
    from mmpretrain.models import DenseCL as Reference
    from mmpretrain.models import DenseCLNeck

    torch.manual_seed(0)
    ours = densecl(queue_len=12)
    theirs = Reference(
        backbone=nn.Identity(),
        neck=DenseCLNeck(8, 16, 4),
        head=dict(
            type='mmpretrain.ContrastiveHead',
            loss=dict(type='mmpretrain.CrossEntropyLoss'),
            temperature=0.2,
        ),
        queue_len=12,
        feat_dim=4,
        momentum=0.001,
        data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
    )

    def rename(key):
        return (
            key.replace('mlp2', 'dense_mlp') if 'mlp2' in key else key.replace('mlp', 'global_mlp')
        )

    # one pair of backbones for both
    theirs.backbone = ours.backbone
    theirs.encoder_k.module[0] = ours.momentum_encoder.backbone
    ours.projector.load_state_dict({rename(k): v for k, v in theirs.neck.state_dict().items()})
    ours.momentum_encoder.copy_online()
    theirs.encoder_k.module[1].load_state_dict(theirs.neck.state_dict())
    for p in theirs.encoder_k.module[1].parameters():
        p.data.add_(0.1)
    for p in ours.momentum_encoder.projector.parameters():
        p.data.add_(0.1)
    # their average runs inside forward, and faster than its `momentum` says
    # for the first 1e5 steps (mmengine's `gamma`): compared elsewhere
    theirs.encoder_k.update_parameters = lambda model: None
    theirs.queue.copy_(ours.queue.features.t())
    theirs.queue2.copy_(ours.dense_queue.features.t())
    for _ in range(3):
        views = [torch.randn(4, 3, 16, 16) for _ in range(2)]
        want = theirs.loss(views, None)
        got = ours.loss(views, None)
        assert got['loss_global'].item() == pytest.approx(want['loss_single'].item(), rel=1e-5)
        assert got['loss_dense'].item() == pytest.approx(want['loss_dense'].item(), rel=1e-5)
    assert torch.allclose(ours.queue.features.t(), theirs.queue, atol=1e-6)
    assert torch.allclose(ours.dense_queue.features.t(), theirs.queue2, atol=1e-6)


def joint_views():
    generator = torch.Generator().manual_seed(3)
    return [
        [torch.randn(4, 3, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2)]
        for _ in range(3)
    ]


def joint_model():
    torch.manual_seed(0)
    # no batch norm: its statistics are per process by design
    return densecl(
        backbone=dict(type='TinyBackbone', norm=False), queue_len=10, shuffle_bn=False, momentum=0.9
    ).double()


def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    getattr(model, 'module', model).momentum_encoder.attach(optimizer)
    losses = []
    for views in batches:
        out = model(views, None, mode='loss')
        out = {k: v for k, v in out.items() if 'loss' in k}
        optimizer.zero_grad()
        sum(out.values()).backward()
        optimizer.step()
        losses.append([out[k].item() for k in sorted(out)])
    return np.array(losses)


def half_run(rank, world):
    from mmengine.model import MMDistributedDataParallel

    model = joint_model()
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    batches = [[v[2 * rank : 2 * rank + 2] for v in views] for views in joint_views()]
    losses = train(wrapped, batches)
    return (losses, model.queue.features.numpy(), model.dense_queue.features.numpy())


def test_two_processes_equal_the_joint_batch():
    model = joint_model()
    losses = train(model, joint_views())
    results = run_distributed(half_run)
    mean = np.mean([r[0] for r in results], axis=0)
    assert np.allclose(mean, losses, rtol=1e-10)
    for _, queue, dense_queue in results:
        assert np.allclose(queue, model.queue.features.numpy())
        assert np.allclose(dense_queue, model.dense_queue.features.numpy())


def shuffled_run(rank, world):
    torch.manual_seed(rank)
    model = densecl()
    if rank:  # weights as rank 0's, random numbers not
        torch.manual_seed(0)
        model = densecl()
        torch.manual_seed(5)
    model.shuffle_bn = True
    model.eval()  # frozen statistics: then shuffling must change nothing
    views = [torch.randn(3, 3, 16, 16) for _ in range(2)]
    shuffled = model.encode_momentum(views[1])
    plain = model.encode(model.momentum_encoder, views[1])
    return [
        float((a - b).abs().max())
        for a, b in zip((shuffled[0], *shuffled[1]), (plain[0], *plain[1]))
    ]


def test_shuffled_bn_brings_every_output_home():
    for differences in run_distributed(shuffled_run):
        assert max(differences) < 1e-5


def test_mocov2_has_no_dense_branch():
    model = densecl(
        loss_lambda=0.0,
        projector=dict(type='DenseProjector', in_channels=8, out_channels=4, with_dense=False),
    )
    views = [torch.randn(2, 3, 16, 16) for _ in range(2)]
    losses = model.loss(views, None)
    assert list(losses) == ['loss_global']
    assert not any('dense' in k for k in model.state_dict())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_lambda_zero_equals_mocov2():
    torch.manual_seed(0)
    model = densecl(loss_lambda=0.0)
    moco = densecl(
        loss_lambda=0.0,
        projector=dict(
            type='DenseProjector',
            in_channels=8,
            hidden_channels=16,
            out_channels=4,
            with_dense=False,
        ),
    )
    moco.load_state_dict({k: v for k, v in model.state_dict().items() if k in moco.state_dict()})
    views = [torch.randn(2, 3, 16, 16) for _ in range(2)]
    losses, expected = model.loss(views, None), moco.loss(views, None)
    assert losses['loss_dense'].item() == 0
    assert torch.equal(losses['loss_global'], expected['loss_global'])
    (losses['loss_global'] + losses['loss_dense']).backward()
    expected['loss_global'].backward()
    for name, p in moco.named_parameters():
        if p.requires_grad:
            assert torch.equal(model.get_parameter(name).grad, p.grad), name


class PlainHead(nn.Module):
    """InfoNCE as one would write it down: autograd keeps the queue."""

    def loss(self, query, positive, queue, valid=None):
        logits = torch.cat([(query * positive).sum(1, keepdim=True), query @ queue.t()], 1)
        target = torch.zeros(len(query), dtype=torch.long)
        return F.cross_entropy(logits / 0.2, target)


def test_an_own_head_may_keep_the_queue():
    torch.manual_seed(0)
    model, own = densecl(), densecl(head=PlainHead())
    own.load_state_dict(model.state_dict())
    views = [torch.randn(2, 3, 16, 16) for _ in range(2)]
    for m in (model, own):
        losses = m.loss(views, None)
        (losses['loss_global'] + losses['loss_dense']).backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert torch.allclose(p.grad, own.get_parameter(name).grad, atol=1e-5), name


def test_backbone_gets_no_gradient_from_the_correspondence():
    model = densecl(loss_lambda=1.0)
    views = [torch.randn(2, 3, 16, 16) for _ in range(2)]
    sum(v for k, v in model.loss(views, None).items() if 'loss' in k).backward()
    # the momentum branch and the global branch stay without gradient
    assert all(p.grad is None for p in model.momentum_encoder.parameters())
    assert (model.projector.global_mlp[0].weight.grad == 0).all()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(loss_lambda=1.5), 'loss_lambda=1.5'),
        (dict(momentum=0.001), 'momentum=0.001'),
        (
            dict(projector=dict(type='DenseProjector', in_channels=8, with_dense=False)),
            'with_dense=True',
        ),
    ],
)
def test_refuses_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        densecl(**options)


def test_refuses_wrong_views():
    model = densecl()
    with pytest.raises(ValueError, match='2 views.*got 1'):
        model.loss([torch.zeros(2, 3, 8, 8)], None)
    with pytest.raises(ValueError, match='one tensor'):
        model.loss(torch.zeros(2, 3, 8, 8), None)
    geometric = densecl(correspondence=dict(type='GeometricCorrespondence'))
    with pytest.raises(ValueError, match='no view boxes'):
        geometric.loss([torch.zeros(2, 3, 8, 8)] * 2, None)


MAP, DENSE, GLOBAL = (4, 8, 8, 8), (4, 4, 8, 8), (4, 4)


@pytest.mark.parametrize(
    'options, expected',
    [
        ({}, [MAP, GLOBAL, DENSE, GLOBAL]),
        (dict(correspondence=dict(type='GeometricCorrespondence')), [GLOBAL, DENSE, GLOBAL]),
        (
            dict(
                loss_lambda=0.0,
                projector=dict(
                    type='DenseProjector',
                    in_channels=8,
                    hidden_channels=16,
                    out_channels=4,
                    with_dense=False,
                ),
            ),
            [GLOBAL],
        ),
    ],
)
def test_only_what_is_read_is_sent_back(options, expected, monkeypatch):
    sent = []

    def unshuffle(self, x):
        sent.append(tuple(x.shape))
        return x

    monkeypatch.setattr(BatchShuffle, 'unshuffle', unshuffle)
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(4, 2, 4)
    densecl(**options).loss(list(torch.randn(2, 4, 3, 32, 32)), samples(boxes))
    assert sent == expected


def test_an_fpn_trains_what_the_projector_reads_only():
    model = densecl(
        backbone=dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3)),
        neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=8),
    )
    losses = model.loss(list(torch.randn(2, 4, 3, 64, 64)), samples(torch.zeros(4, 2, 4)))
    sum(losses[k] for k in ('loss_global', 'loss_dense')).backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    assert model.neck.lateral_convs[3].conv.weight.grad is not None
