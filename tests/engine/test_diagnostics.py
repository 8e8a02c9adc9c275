"""What DiagnosticsHook logs, and that training is the same with it and without."""

import json
import re

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image

from .runs import config, image_folder, train

METHODS = {
    'densecl': 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
    'mocov2': 'densecl/mocov2_resnet50_8xb32-coslr-200e_in1k.py',
    'pixpro': 'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py',
    'pixcontrast': 'pixpro/pixcontrast_resnet50_8xb128-coslr-100e_in1k.py',
}
SPREAD = {'std', 'rank'}
RANKING = {'positive', 'negative', 'top1'}
LOGGED = {
    'densecl': {'feature', 'cell', 'image'},
    'mocov2': {'feature', 'image'},
    'pixpro': {'feature', 'cell'},
    'pixcontrast': {'feature', 'cell'},
}


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 13)


def short(images, work_dir, method='densecl', interval=2, **options):
    cfg = config(METHODS[method], images, work_dir, **options)
    if method == 'pixpro':
        cfg.model.projector.out_channels = cfg.model.propagation.in_channels = 8
    for hook in cfg.custom_hooks:
        if hook['type'] == 'DiagnosticsHook':
            hook['interval'] = interval
    return cfg


def without(cfg):
    cfg.custom_hooks = [h for h in cfg.custom_hooks if h['type'] != 'DiagnosticsHook']
    return cfg


AMP = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}


@pytest.mark.parametrize('options', [{}, AMP], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('method', METHODS)
def test_same_training_with_and_without(images, tmp_path, method, options):
    looked, a = train(short(images, tmp_path / 'a', method, interval=1, **options))
    plain, b = train(without(short(images, tmp_path / 'b', method, **options)))
    assert a.losses == b.losses
    ours, others = looked.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(ours[k], others[k]) for k in others)
    assert plain.model.observed is None and looked.model.observed is None


@pytest.mark.parametrize('method', METHODS)
def test_numbers_reach_the_log(images, tmp_path, method):
    cfg = short(images, tmp_path, method)  # 6 iterations
    cfg.default_hooks.logger.interval = 2
    runner, _ = train(cfg)
    history = {k[6:]: v for k, v in runner.message_hub.log_scalars.items()}
    wanted = {f'{a}_{b}' for a in LOGGED[method] for b in SPREAD}
    wanted |= {f'{a}_{b}' for a in LOGGED[method] - {'feature'} for b in RANKING}
    wanted |= {'feature_between', 'gradient_norm'}
    if method in ('densecl', 'mocov2'):
        wanted |= {'queue_fill', 'queue_age', 'queue_share'}
    assert wanted <= history.keys()
    assert runner.message_hub.get_info('diagnosed') == [1, 2, 4, 6]
    assert all(len(history[name].data[0]) == 4 for name in wanted)
    lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).open()]
    assert [line['step'] for line in lines] == [2, 5]
    assert all(wanted <= line.keys() for line in lines)
    assert lines[-1]['feature_rank'] == history['feature_rank'].data[0][-2]


class Norms(Hook):
    """The norm of all gradients, as each step sees it."""

    def before_train(self, runner):
        self.norms = []
        runner.optim_wrapper.optimizer.register_step_pre_hook(self.note)

    def note(self, optimizer, args, kwargs):
        grads = [p.grad for g in optimizer.param_groups for p in g['params'] if p.grad is not None]
        self.norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))


def test_gradient_norm_of_accumulated_steps(images, tmp_path):
    cfg = short(images, tmp_path, interval=2, **{'optim_wrapper.accumulative_counts': 2})
    cfg.custom_hooks.append(dict(type=Norms))
    runner, _ = train(cfg)
    (norms,) = (hook.norms for hook in runner.hooks if isinstance(hook, Norms))
    logged = runner.message_hub.get_scalar('train/gradient_norm').data[0]
    assert logged == pytest.approx(norms)  # iterations 2, 4, 6; at 1 there is no step


def test_queue_numbers(images, tmp_path):
    cfg = short(images, tmp_path, interval=1)
    cfg.model.queue_len = 8  # two batches
    runner, _ = train(cfg)
    scalars = runner.message_hub
    assert scalars.get_scalar('train/queue_fill').data[0].tolist() == [0.5, 1, 1, 1, 1, 1]
    assert scalars.get_scalar('train/queue_age').data[0].tolist() == [1, 2, 2, 2, 2, 2]
    assert scalars.get_scalar('train/queue_share').current() == 8 / 13


def warnings(cfg, capsys):
    train(cfg)
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if 'docs/diagnostics.md' in line and 'waits for' not in line]


def no_fit(cfg, length):
    cfg.model.queue_len = length
    cfg.custom_hooks.append(dict(type='FitCheckHook', long_queue='warn'))


def rash(cfg):
    cfg.optim_wrapper.optimizer.lr = 1e3
    cfg.param_scheduler = None


def same_views(cfg):
    (views,) = cfg.train_dataloader.dataset.pipeline[1:2]
    for pipeline in views.transforms:
        (crop,) = (step for step in pipeline if 'Crop' in step['type'])
        crop.crop_ratio_range = crop.aspect_ratio_range = (1.0, 1.0)
        pipeline[:] = [crop, dict(type='RandomFlipWithBox', prob=0.0)]


def tiny_crops(cfg):
    (views,) = cfg.train_dataloader.dataset.pipeline[1:2]
    for pipeline in views.transforms:
        pipeline[0].crop_ratio_range = (0.005, 0.006)


BROKEN = {
    'longer than the data': ('densecl', lambda cfg: no_fit(cfg, 64), 'times as many keys'),
    'stale': (
        'densecl',
        lambda cfg: (no_fit(cfg, 512), cfg.model.update(momentum=0.5)),
        'replaced 1. times over',
    ),
    'exploding': ('mocov2', rash, 'gradients explode|features collapse'),
    'same views': ('pixpro', same_views, 'the same view twice'),
    'apart': ('pixpro', tiny_crops, 'without a positive'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_runs_are_told(images, tmp_path, capsys, name):
    method, spoil, message = BROKEN[name]
    cfg = short(images, tmp_path, method, interval=1, epochs=8)
    spoil(cfg)
    found = warnings(cfg, capsys)
    assert sum(bool(re.search(message, line)) for line in found) == 1, found


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Images that can be told apart, as noise cannot: patches of colours."""
    folder = tmp_path_factory.mktemp('scenes')
    rng = np.random.default_rng(0)
    for i in range(13):
        patches = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(patches.repeat(10, 0).repeat(10, 1)).save(folder / f'{i:02}.png')
    return folder


@pytest.mark.parametrize('method', METHODS)
def test_good_runs_are_not(scenes, tmp_path, capsys, method):
    assert warnings(short(scenes, tmp_path, method, epochs=8), capsys) == []
