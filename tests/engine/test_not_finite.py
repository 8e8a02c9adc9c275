"""Numbers that are not finite end a run, and cost none of its checkpoints."""

import re
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from dense_ssl.engine import FiniteCheckHook
from dense_ssl.errors import UserError

from ..finetune.tiny_data import write_coco
from .runs import ROOT, config, environment, finish, image_folder, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
QUEUE = {'model.queue_len': 8}


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 13)


class Spoil(Hook):
    """Makes chosen batches, or a weight, not finite."""

    def __init__(self, batches=(), weight=None):
        self.batches, self.weight = batches, weight

    def before_train_iter(self, runner, batch_idx, data_batch):
        if runner.iter in self.batches:
            data_batch['inputs'] = [view.float() * np.nan for view in data_batch['inputs']]

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if runner.iter == self.weight:
            with torch.no_grad():
                next(runner.model.projector.parameters()).view(-1)[1] = np.inf


def spoiled(images, work_dir, policy='stop', interval=1, epochs=3, **how):
    cfg = config(DENSECL, images, work_dir, epochs=epochs, **QUEUE)
    cfg.default_hooks.logger.interval = interval
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    cfg.non_finite = policy
    cfg.custom_hooks.append(dict(type=Spoil, **how))
    return cfg


@pytest.mark.slow
def test_a_rate_too_high_ends_the_command(images, tmp_path):
    cfg = config(DENSECL, images, tmp_path / 'run', epochs=6, **QUEUE)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    cfg.optim_wrapper.optimizer.lr = 1e30
    code, output = finish(cfg)
    assert code == 1 and 'Traceback' not in output, output[-3000:]
    error = output[output.index('error: ') :]
    assert 'Files of the batch: ' in error and 'non_finite=skip' in error
    assert not list((tmp_path / 'run').glob('epoch_*.pth')), 'none of these was good'


@pytest.mark.slow
def test_a_detector(tmp_path):
    pytest.importorskip('mmdet')
    config = 'configs/benchmarks/mmdetection/mask-rcnn_r50_fpn_1x_coco.py'
    ann, images = write_coco(tmp_path / 'coco', images=10)
    words = ['--init-from', 'random', '--small', 32, '--scale', 64, 64, '--batch-size', 2]
    words += ['--workers', 0, '--iters', 6, '--accept-recipe', '--coco-ann', ann]
    words += ['--coco-images', images, '--work-dir', tmp_path / 'run', '--cfg-options']
    words += ['default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=1']
    words += ['optim_wrapper.optimizer.lr=1e30', 'default_hooks.logger.interval=6']
    command = [sys.executable, ROOT / 'tools' / 'finetune.py', config, *words]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr[-3000:]
    error = done.stderr[done.stderr.index('error: ') :]
    assert 'is the first module with such weights' in error
    assert f'Files of the batch: {images}' in error
    for path in (tmp_path / 'run').glob('iter_*.pth'):
        state = torch.load(path, weights_only=False)['state_dict']
        assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize('interval', [1, 2, 50])
def test_a_loss(images, tmp_path, interval):
    with pytest.raises(UserError, match='the loss is nan at iteration 5 ') as stop:
        train(spoiled(images, tmp_path, interval=interval, batches=[4]))
    said = str(stop.value)
    assert '(epoch 2); backbone.conv1 is the first module' in said
    assert f'last good checkpoint: {tmp_path}/epoch_1.pth' in said
    assert [p.name for p in tmp_path.glob('epoch_*')] == ['epoch_1.pth']
    path = re.search(r'are in (\S+\.pth)', said).group(1)
    dump = torch.load(path, weights_only=False)
    assert len(dump['files']) == 4 and all(name in said for name in dump['files'])
    assert dump['last_checkpoint'] == f'{tmp_path}/epoch_1.pth' and dump['iteration'] == 5
    assert (dump['batch'] is not None) == (interval < 50)


def test_the_dump_can_be_replayed(images, tmp_path):
    """The batch of the dump and the weights of the last good checkpoint give what was seen."""
    with pytest.raises(UserError):
        train(spoiled(images, tmp_path, batches=[4]))
    dump = torch.load(next(tmp_path.glob('not_finite*.pth')), weights_only=False)
    cfg = config(DENSECL, images, tmp_path / 'replay', **QUEUE)
    runner, _ = train(cfg)
    runner.model.load_state_dict(
        torch.load(dump['last_checkpoint'], weights_only=False)['state_dict']
    )
    with torch.no_grad():
        losses = runner.model(**runner.model.data_preprocessor(dump['batch'], True), mode='loss')
    assert losses['loss_dense'].isnan()


def test_weights_before_a_save(images, tmp_path):
    # after the last step of the second epoch: no loss has seen it
    with pytest.raises(UserError, match='weights are not finite at iteration 6 ') as stop:
        train(spoiled(images, tmp_path, weight=5))
    assert 'projector.global_mlp.0 is the first module' in str(stop.value)
    assert [p.name for p in tmp_path.glob('epoch_*')] == ['epoch_1.pth']


def test_single_steps_are_left_out_and_counted(images, tmp_path):
    runner, recorder = train(spoiled(images, tmp_path / 'a', 'skip 2', batches=[1, 4]))
    assert np.isnan(recorder.losses).nonzero()[0].tolist() == [1, 4]
    assert all(t.isfinite().all() for t in runner.model.state_dict().values())
    assert runner.model.momentum_encoder.num_updates == 7
    with pytest.raises(UserError, match='at iteration 5 '):
        train(spoiled(images, tmp_path / 'b', 'skip 1', batches=[1, 4]))


def test_skipping_changes_no_good_run(images, tmp_path):
    plain = train(spoiled(images, tmp_path / 'a'))[1].losses
    assert train(spoiled(images, tmp_path / 'b', 'skip 2'))[1].losses == plain


@pytest.mark.parametrize('policy', ['skip', 'go on', 3])
def test_another_policy(images, tmp_path, policy):
    with pytest.raises(UserError, match="use 'stop' or 'skip N'"):
        train(spoiled(images, tmp_path, policy))


def test_a_scaler_that_only_shrinks():
    """Gradients that are never finite halve the scale until the log speaks, once."""
    weight = torch.nn.Parameter(torch.ones(1))
    scaler = torch.amp.GradScaler('cpu')
    wrapper = SimpleNamespace(loss_scaler=scaler)
    logger = mock.Mock()
    hook = FiniteCheckHook()
    hook.shrunk = False
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(20):
        scaler.scale(weight.sum() * float('inf')).backward()
        scaler.step(optimizer)
        scaler.update()
        hook._check_scaler(SimpleNamespace(optim_wrapper=wrapper, logger=logger))
    (said,) = [call.args[0] for call in logger.warning.call_args_list]
    assert 'has shrunk to 0.5' in said and weight == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_no_step_waits_for_the_device():
    hook = FiniteCheckHook()
    runner = mock.Mock(hooks=[], iter=0, epoch=0, model=torch.nn.Linear(2, 2).cuda())
    hook.before_train(runner)
    hook.interval = 100
    runner.train_dataloader = range(100)
    loss = torch.ones((), device='cuda')
    torch.cuda.set_sync_debug_mode('error')
    try:
        for runner.iter in range(5):
            hook.after_train_iter(runner, runner.iter, {}, dict(loss=loss, loss_a=loss))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len(hook.losses) == 5
