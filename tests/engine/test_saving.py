"""A checkpoint replaces the one before only when it is there as a whole."""

import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from dense_ssl.engine.saving import DiskFull
from dense_ssl.visualization.curves import logged_scalars

from .runs import config, finish, image_folder, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 13)


def recipe(images, work_dir, **options):
    cfg = config(DENSECL, images, work_dir, epochs=3, **{'model.queue_len': 8, **options})
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    return cfg


def weights(work_dir):
    return torch.load(work_dir / 'epoch_3.pth', weights_only=False)['state_dict']


@pytest.mark.slow
@pytest.mark.parametrize(
    'doing, left',
    [
        ('fsync', {'epoch_1.pth'}),
        ('replace', {'epoch_1.pth'}),
        ('remove', {'epoch_1.pth', 'epoch_2.pth'}),
    ],
)
def test_killed_during_a_save(images, tmp_path, doing, left):
    train(recipe(images, tmp_path / 'straight'))
    cfg = recipe(images, tmp_path / 'run')
    cfg.custom_hooks.append(dict(type='KillWhile', doing=doing, epoch=2))
    code, output = finish(cfg)
    assert code == -9, output[-3000:]
    assert {p.name for p in (tmp_path / 'run').glob('epoch_*')} == left
    code, output = finish(recipe(images, tmp_path / 'run'), '--resume')
    assert code == 0, output[-3000:]
    straight, resumed = weights(tmp_path / 'straight'), weights(tmp_path / 'run')
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


@pytest.mark.slow
def test_a_full_disk(images, tmp_path):
    def limit():  # the system refuses to write more, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    cfg = recipe(images, tmp_path / 'run')
    code, output = finish(cfg, preexec_fn=limit)
    assert code == 1 and 'Traceback' not in output, output[-3000:]
    error = output[output.index('error: ') :]
    assert f'no space for the checkpoint {tmp_path}/run/epoch_1.pth, which needs 0.' in error
    assert [p.name for p in (tmp_path / 'run').iterdir() if p.suffix in ('.pth', '.part')] == []


class Fill(Hook):
    """A disk that is full for one save, through a real device that always is."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        path = runner.work_dir + f'/epoch_{runner.epoch + 1}.pth'
        if runner.epoch + 1 == self.epoch:
            subprocess.run(['ln', '-s', '/dev/full', path], check=True)


@pytest.mark.parametrize('policy', ['stop', 'go on'])
def test_what_a_full_disk_does_to_the_run(images, tmp_path, policy):
    cfg = recipe(images, tmp_path, disk_full=policy)
    cfg.custom_hooks.append(dict(type=Fill, epoch=2))
    if policy == 'stop':
        with pytest.raises(DiskFull, match='epoch_2.pth'):
            train(cfg)
        assert torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['meta']['epoch'] == 1
        assert (tmp_path / 'last_checkpoint').read_text() == f'{tmp_path}/epoch_1.pth'
        return
    train(cfg)
    assert (tmp_path / 'last_checkpoint').read_text() == f'{tmp_path}/epoch_3.pth'
    assert {p.name for p in tmp_path.glob('epoch_*') if p.is_file()} == {'epoch_3.pth'}


class Watch(Hook):
    """Which checkpoints there are when the best is about to be replaced."""

    seen: list = []

    def before_save_checkpoint(self, runner, checkpoint):
        folder = Path(runner.work_dir)
        self.seen.append(sorted(p.name for p in folder.glob('*.pth')))


def test_the_best_is_replaced_in_that_order_too(images, tmp_path):
    runner, _ = train(recipe(images, tmp_path))
    hook = next(h for h in runner.hooks if hasattr(h, 'keep_ckpt_ids'))
    hook.save_best, hook.best_ckpt_path = ['a'], None
    hook.is_better_than = {}
    hook._init_rule(['greater'], ['a'])
    Watch.seen = []
    runner.register_hook(Watch())
    for score in (1.0, 2.0):
        runner.train_loop._epoch += 1
        hook._save_best_checkpoint(runner, dict(a=score))
    assert Watch.seen[2] == ['best_a_epoch_4.pth', 'epoch_4.pth']  # while the next is written
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['best_a_epoch_5.pth', 'epoch_5.pth']


def test_the_log_kept_in_checkpoints_is_bounded(images, tmp_path, monkeypatch):
    from dense_ssl.engine import log_history

    monkeypatch.setattr(log_history, 'KEPT', 12)
    runner, _ = train(recipe(images, tmp_path / 'run', **{'train_cfg.max_epochs': 6}))
    steps = runner.iter
    assert steps > 15
    read = logged_scalars(tmp_path / 'run' / 'epoch_6.pth')['loss']
    assert len(read) == steps and np.isnan(read).sum() == steps - 12
    cfg = recipe(images, tmp_path / 'run', **{'train_cfg.max_epochs': 7})
    cfg.resume = True
    runner, rest = train(cfg)
    scalar = runner.message_hub.get_scalar('train/loss')
    held = list(scalar.data[0])
    assert len(held) == len(scalar.data[1]) == 12
    assert held[-len(rest.losses) :] == pytest.approx(rest.losses)
    assert held[: -len(rest.losses)] == list(read[-12 + len(rest.losses) :])
