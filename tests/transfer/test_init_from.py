"""Starting a method from supervised, released or own weights."""

import pytest
import torch
from mmengine.config import Config

from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import start_from
from dense_ssl.errors import TransferError, UserError
from dense_ssl.transfer.init_from import InitFromHook, init_from
from tests.models.tiny import densecl

from . import foreign
from .small_models import distinct, prefixed, snapshot, unchanged


def model(**projector):
    return densecl(
        backbone=dict(type='mmpretrain.ResNet', depth=18),
        projector=dict(
            dict(type='DenseProjector', in_channels=512, hidden_channels=6, out_channels=4),
            **projector,
        ),
    )


@pytest.fixture
def save(tmp_path):

    def run(weights):
        path = tmp_path / 'x.pth'
        torch.save(dict(state_dict=weights), path)
        return str(path)

    return run


def test_supervised_weights_fill_backbone_and_copy(save):
    method = model()
    before = snapshot(method)
    report = init_from(method, save(foreign.torchvision()[0]))
    assert [part.name for part in report.parts] == ['backbone']
    filled, wanted = method.state_dict(), foreign.backbone(1)
    for key, value in wanted.items():
        assert torch.equal(filled[f'backbone.{key}'], value)
        assert torch.equal(filled[f'momentum_encoder.backbone.{key}'], value)
    for key, value in before.items():
        if key.startswith(('projector', 'queue', 'dense_queue')):
            assert torch.equal(filled[key], value), key
    copy = 'momentum_encoder.projector.global_mlp.0.weight'
    assert torch.equal(filled[copy], filled['projector.global_mlp.0.weight'])


def test_a_momentum_copy_outlives_the_start_of_training(save):
    from types import SimpleNamespace

    from dense_ssl.engine.hooks import MomentumUpdateHook

    weights = distinct(model())
    method = model()
    init_from(method, save(weights))
    wrapper = SimpleNamespace(optimizer=torch.optim.SGD(method.parameters(), lr=1.0))
    MomentumUpdateHook().before_train(
        SimpleNamespace(model=method, optim_wrapper=wrapper, max_iters=4, iter=0)
    )
    for key, value in method.momentum_encoder.state_dict().items():
        if key.startswith(('backbone', 'projector')):
            assert torch.equal(value, weights[f'momentum_encoder.{key}']), key
    assert int(method.momentum_encoder.num_updates) == 0


def test_load_from_beside_init_from_is_refused(save):
    args = train_parser().parse_args(['c.py', '--init-from', save({})])
    with pytest.raises(UserError, match='load_from .y.pth. were given'):
        start_from(Config(dict(load_from='y.pth')), args)


def test_a_whole_checkpoint_fills_all_but_queues(save):
    weights = distinct(model())
    method = model()
    report = init_from(method, save(weights))
    assert [part.name for part in report.parts] == [
        'backbone',
        'projector',
        'momentum_encoder.backbone',
        'momentum_encoder.projector',
    ]
    for key, value in method.state_dict().items():
        is_new = 'queue' in key or key == 'momentum_encoder.updates'
        assert torch.equal(value, weights[key]) != is_new, key
    # The schedules start anew.
    assert method.momentum_encoder.num_updates == 0


def test_another_methods_heads_are_left_alone(save):
    method = model()
    weights, wanted = foreign.pixpro()
    report = init_from(method, save(weights))
    assert [part.name for part in report.parts] == ['backbone', 'momentum_encoder.backbone']
    key = 'momentum_encoder.backbone.conv1.weight'
    assert torch.equal(method.state_dict()[key], wanted[key])


def test_what_does_not_fit_is_refused_and_nothing_written(save):
    method = model(out_channels=3)
    before = snapshot(method)
    path = save(distinct(model()))
    with pytest.raises(
        TransferError,
        match=r'projector(.|\n)*wrong shape'
        r'(.|\n)*--init-parts backbone',
    ):
        init_from(method, path)
    assert unchanged(method, before)
    report = init_from(method, path, ['backbone'])
    assert {part.name for part in report.parts} == {'backbone', 'momentum_encoder.backbone'}


def test_bad_parts_are_named(save):
    path = save(prefixed('backbone.', foreign.backbone(1)))
    with pytest.raises(TransferError, match="'projector'.*got.*'projektor'"):
        init_from(model(), path, ['backbone', 'projektor'])
    with pytest.raises(TransferError, match='projector'):
        init_from(model(), path, ['backbone', 'projector'])


def test_the_options(save):
    cfg = Config(dict(custom_hooks=[dict(type='A')]))
    path = save(foreign.backbone(1))

    def start(*words):
        start_from(cfg, train_parser().parse_args(['c.py', *words]))

    start('--init-from', path, '--init-parts', 'backbone,neck')
    assert len(cfg.custom_hooks) == 2
    assert cfg.custom_hooks[1].parts == 'backbone,neck'
    from dense_ssl.registry import HOOKS

    assert isinstance(HOOKS.build(cfg.custom_hooks[1]), InitFromHook)
    start()
    assert len(cfg.custom_hooks) == 2
    with pytest.raises(UserError, match='no such file'):
        start('--init-from', 'gone')
    with pytest.raises(UserError, match='needs --init-from'):
        start('--init-parts', 'x')


class Runner:
    class logger:
        info = staticmethod(lambda text: None)

    def __init__(self, model):
        self.model = model


def test_a_resumed_run_keeps_its_own_weights(save):
    method = model()
    before = snapshot(method)
    hook = InitFromHook(save(foreign.backbone(1)))
    hook.after_load_checkpoint(Runner(method), {})
    hook.before_train(Runner(method))
    assert unchanged(method, before)
    hook = InitFromHook(hook.checkpoint)
    hook.before_train(Runner(method))
    assert not unchanged(method, before)
