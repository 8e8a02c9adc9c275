"""Files that a run would load or resume from, against its model."""

import re
from uuid import uuid4

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from dense_ssl.engine.checkpoint_check import StartingPoint
from dense_ssl.errors import TransferError

from .runs import config, image_folder, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
RESNET = {
    'model.backbone': dict(_delete_=True, type='ResNet', depth=18),
    'model.projector.in_channels': 512,
}


def build(tmp_path, load_from=None, resume=False, **options):
    """A runner of DenseCL that has opened no data."""
    cfg = config(DENSECL, tmp_path / 'none', tmp_path / 'run', **{'model.queue_len': 6, **options})
    cfg.load_from = load_from and str(load_from)
    cfg.resume = resume
    cfg.experiment_name = f'check_{uuid4().hex}'
    return Runner.from_cfg(cfg)


def save(path, state, training=False):
    content = dict(state_dict=state)
    if training:
        content.update(meta=dict(epoch=1, iter=3), message_hub={}, optimizer={})
    torch.save(content, path)
    return path


def message(runner, **options):
    """Of the refusal; the model must be as it was."""
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    with pytest.raises(TransferError) as refusal:
        StartingPoint.find(runner, **options)
    after = runner.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    return str(refusal.value)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """The tiny DenseCL's weights."""
    return build(tmp_path_factory.mktemp('tiny')).model.state_dict()


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_right_file_passes(tmp_path, tiny, prefix, resume):
    path = save(tmp_path / 'a.pth', {prefix + k: v for k, v in tiny.items()}, training=resume)
    StartingPoint.find(build(tmp_path, path, resume))


def test_the_arguments_of_loading(tmp_path, tiny):
    path = save(tmp_path / 'a.pth', {f'net.{k}': v + 1 for k, v in tiny.items()})
    keys = [(r'^net\.', '')]
    runner = build(tmp_path, path)
    content = runner.load_checkpoint(str(path), map_location='meta', revise_keys=keys)
    assert {x.device.type for x in content['state_dict'].values()} == {'meta'}
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, tiny[key] + 1)
    save(path, tiny)
    runner._start = StartingPoint.find(runner)  # read at the start under other names
    with pytest.raises(TransferError):
        runner.load_checkpoint(str(path), revise_keys=[(r'^', 'net.')])


def test_a_wrapped_model(tmp_path, tiny):
    path = save(tmp_path / 'a.pth', tiny)
    runner = build(tmp_path, path)
    runner.model = nn.DataParallel(runner.model)
    StartingPoint.find(runner)
    save(path, {k: v for k, v in tiny.items() if 'conv1' not in k})
    assert 'does not fit' in message(runner)


def test_nothing_to_load(tmp_path):
    StartingPoint.find(build(tmp_path))
    StartingPoint.find(build(tmp_path, resume=True))  # no file there yet


def test_nothing_matches(tmp_path, tiny):
    path = save(tmp_path / 'a.pth', {'stem.weight': torch.ones(2)})
    text = message(build(tmp_path, path))
    assert text.startswith(
        f'load_from={path} does not fit the model: 0 of its {len(tiny)} '
        'tensors are in the file with the same shape.\n'
    )
    assert 'likely cause: another model: the file has stem (1).' in text
    assert 'backbone.conv1.weight' in text
    assert text.endswith('which knows other names too.')
    assert f'--init-from {path}' in text


def test_other_prefix(tmp_path, tiny):
    backbone = {
        k.replace('backbone', 'encoder_q.0'): v
        for k, v in tiny.items()
        if k.startswith('backbone.')
    }
    text = message(build(tmp_path, save(tmp_path / 'a.pth', backbone)))
    assert (
        f'{len(backbone)} of {len(backbone)} tensors of "backbone.*" are '
        'in the file as "encoder_q.0.*"'
    ) in text


def test_half(tmp_path, tiny):
    half = {k: v for k, v in tiny.items() if k.startswith(('backbone.', 'projector.'))}
    path = save(tmp_path / 'a.pth', half)
    text = message(build(tmp_path, path))
    assert f'{len(half)} of its {len(tiny)} tensors' in text
    assert re.search('likely cause: the file has nothing of .*queue', text)
    # counters of batches may be absent
    missing = [k for k in tiny if k not in half and 'num_batches' not in k]
    assert f'missing in the file ({len(missing)})' in text


@pytest.mark.parametrize('depth, found', [(50, 'ResNet-50'), (34, 'ResNet-34')])
def test_wrong_depth(tmp_path, depth, found):
    other = {**RESNET, 'model.backbone': dict(_delete_=True, type='ResNet', depth=depth)}
    if depth == 50:
        other['model.projector.in_channels'] = 2048
    state = build(tmp_path, **other).model.state_dict()
    path = save(tmp_path / 'a.pth', state)
    # A ResNet-34 has all tensors of a ResNet-18, in the same shapes.
    text = message(build(tmp_path, path, **RESNET))
    assert f'holds a {found}, the model is a ResNet-18' in text
    assert 'unexpected in the file' in text


def test_networks_that_the_model_lacks(tmp_path, tiny, monkeypatch):
    state = {
        **tiny,
        'head.fc.weight': torch.ones(2, 2),
        'momentum_encoder.head.fc.weight': torch.ones(2, 2),
    }
    path = save(tmp_path / 'a.pth', state, training=True)
    runner = build(tmp_path, path)
    lines = []
    monkeypatch.setattr(runner.logger, 'info', lines.append)
    StartingPoint.find(runner)
    assert lines == [
        f'load_from={path}: in the file, not used: head (1), momentum_encoder.head (1)'
    ]
    text = message(build(tmp_path, path, resume=True))
    assert 'unexpected in the file (2)' in text


def test_diverged(tmp_path, tiny):
    bad = torch.full_like(tiny['backbone.conv1.bias'], float('nan'))
    path = save(tmp_path / 'a.pth', {**tiny, 'backbone.conv1.bias': bad})
    assert 'not finite' in message(build(tmp_path, path))


@pytest.mark.parametrize('lack', ['meta', 'message_hub', 'optimizer'])
def test_resuming_from_no_training_checkpoint(tmp_path, tiny, lack):
    path = save(tmp_path / 'a.pth', tiny, training=True)
    content = torch.load(path, weights_only=False)
    del content[lack]
    torch.save(content, path)
    text = message(build(tmp_path, path, resume=True))
    lacking = 'meta.epoch, meta.iter' if lack == 'meta' else lack
    assert text.startswith(
        f'--resume {path} is no checkpoint that a run can go on from: it lacks {lacking}. '
    )
    assert f'--init-from {path}' in text and f'load_from={path}' in text


def test_resuming_another_model(tmp_path, tiny):
    path = save(tmp_path / 'a.pth', {**tiny, 'backbone.conv1.bias': None}, training=True)
    text = message(build(tmp_path, path, resume=True))
    assert text.startswith(f'--resume {path} does not fit the model')
    assert 'Resume with the config and options that wrote the file' in text


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', None])
def test_no_checkpoint_at_all(tmp_path, content):
    path = tmp_path / 'a.pth'
    if content is not None:
        path.write_bytes(content)
    assert message(build(tmp_path, path)).startswith(f'load_from={path} cannot be read: ')


def test_a_file_of_something_else(tmp_path):
    torch.save([1], tmp_path / 'a.pth')
    assert 'holds a list' in message(build(tmp_path, tmp_path / 'a.pth'))
    for content in (dict(a=1), dict(state_dict=1)):
        torch.save(content, tmp_path / 'a.pth')
        assert 'holds no weights' in message(build(tmp_path, tmp_path / 'a.pth'))


def test_the_remedy_of_a_test(tmp_path, tiny):
    path = save(tmp_path / 'a.pth', {'stem.weight': torch.ones(2)})
    text = message(build(tmp_path, path), testing=True)
    assert text.startswith(f'checkpoint {path} does not fit')
    assert '--init-from' not in text and 'tools/finetune.py' in text


class Start(Hook):
    """Keeps the queue as training finds it."""

    def before_train(self, runner):
        self.queue = runner.model.queue.features.clone()


def test_resuming_a_shortened_queue(tmp_path):
    options = {'model.queue_len': 64}
    images = image_folder(tmp_path / 'images', 13)
    first, _ = train(config(DENSECL, images, tmp_path / 'run', 1, **options))
    assert len(first.model.queue) == 8  # shortened to fit the images
    cfg = config(DENSECL, images, tmp_path / 'run', 2, **options)
    cfg.resume = True  # from the last one in the work folder
    cfg.experiment_name = 'resumed_queue'
    runner, start = Runner.from_cfg(cfg), Start()
    assert len(runner.model.queue) == 64
    StartingPoint.find(runner)
    runner.register_hook(start)
    runner.train()
    assert runner.epoch == 2
    assert torch.equal(start.queue, first.model.queue.features)
    # the last one of the work folder, for another model
    cfg = config(
        DENSECL, images, tmp_path / 'run', 2, **options, **{'model.projector.hidden_channels': 4}
    )
    cfg.resume = True
    cfg.experiment_name = 'resumed_other'
    text = message(Runner.from_cfg(cfg))
    assert text.startswith(f'--resume {tmp_path / "run" / "epoch_2.pth"} ')
    assert 'wrong shape' in text
