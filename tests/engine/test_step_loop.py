"""A run of so many steps, whatever an epoch is."""

import math

import pytest
import torch

from .runs import config, image_folder, train

DENSECL = 'densecl/densecl_resnet50_1xb64-coslr-20k_small.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 21)  # 5 steps of 4 images an epoch


def recipe(images, work_dir, iters, interval=3, workers=0):
    cfg = config(
        DENSECL, images, work_dir,
        **{'model.queue_len': 8, 'train_dataloader.num_workers': workers,
           'default_hooks.checkpoint.interval': interval,
           'default_hooks.checkpoint.max_keep_ckpts': -1},
    )  # fmt: skip
    cfg.train_cfg = dict(type='StepTrainLoop', max_iters=iters)
    cfg.param_scheduler = [dict(type='CosineAnnealingLR', T_max=iters, by_epoch=False, end=iters)]
    return cfg


@pytest.mark.parametrize('iters, epochs', [(3, 1), (5, 1), (12, 3), (15, 3)])
def test_it_ends_at_its_step(images, tmp_path, iters, epochs):
    runner, recorder = train(recipe(images, tmp_path, iters))
    assert (len(recorder.losses), runner.iter, runner.epoch) == (iters, iters, epochs)
    assert (runner.max_iters, runner.max_epochs) == (iters, epochs)
    assert (tmp_path / f'iter_{iters}.pth').is_file()
    last = (1 + math.cos(math.pi * (iters - 1) / iters)) / 2
    group = runner.optim_wrapper.param_groups[0]
    assert group['lr'] == pytest.approx(last * group['initial_lr'])


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('at', [3, 5, 8, 10])  # within an epoch, and at its end
def test_a_resumed_run_equals_an_uninterrupted_one(images, tmp_path, workers, at):
    _, whole = train(recipe(images, tmp_path / 'a', 12, at, workers))
    checkpoint = tmp_path / 'a' / f'iter_{at}.pth'
    cfg = recipe(images, tmp_path / 'b', 12, at, workers)
    cfg.load_from, cfg.resume = str(checkpoint), True
    _, rest = train(cfg)
    assert rest.losses == whole.losses[at:]
    one, other = (torch.load(tmp_path / name / 'iter_12.pth', weights_only=False) for name in 'ab')
    for key, value in one['state_dict'].items():
        assert torch.equal(value, other['state_dict'][key]), key


@pytest.mark.parametrize('iters', [10, 12])  # at the end of an epoch, and within one
def test_a_finished_run_is_not_trained_on(images, tmp_path, iters):
    train(recipe(images, tmp_path, iters))
    before = (tmp_path / f'iter_{iters}.pth').read_bytes()
    cfg = recipe(images, tmp_path, iters)
    cfg.resume = True
    runner, recorder = train(cfg)
    assert recorder.losses == [] and runner.iter == iters
    assert (tmp_path / f'iter_{iters}.pth').read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob('iter_*')) == sorted(
        f'iter_{i}.pth' for i in {*range(3, iters, 3), iters}
    )
