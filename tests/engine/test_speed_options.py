"""Options for speed: all algorithms train with them, to the same losses."""

import os
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS

from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import apply_training
from dense_ssl.engine.device_color import leave_colors_to_device, place_colors
from dense_ssl.engine.runner import checkpoint_activations
from dense_ssl.registry import HOOKS

from ..distributed import run_distributed
from ..models.tiny_mcl import mcl_config
from .runs import CONFIGS, NUMBERS, Recorder, config, image_folder, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'
PIXPRO = 'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'
MCL = 'mcl/mcl_resnet50_8xb128-coslr-100e_in1k.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 9)


def recipe(name, images, work_dir, *arguments):
    """A tiny run of two steps with these command line arguments."""
    if name == MCL:
        pipeline = Config.fromfile(CONFIGS / MCL).train_dataloader.dataset
        cfg = config(PIXPRO, images, work_dir, epochs=1)
        cfg.train_dataloader.dataset.pipeline = pipeline.pipeline
        cfg.train_dataloader.dataset.pipeline[1].view_size = 32
        cfg.train_dataloader.dataset.min_size = 0  # the images have 24
        cfg.model = mcl_config()
        del cfg.model['data_preprocessor']
    else:
        options = (
            {'model.queue_len': 8} if name == DENSECL else {'model.propagation.in_channels': 4}
        )
        options['model.projector.out_channels'] = 4
        cfg = config(name, images, work_dir, epochs=1, **options)
    # Small steps: the recipes' own would blow rounding up.
    cfg.optim_wrapper.optimizer.lr = 1e-4
    cfg.param_scheduler = []
    apply_training(cfg, train_parser().parse_args(['c.py', *arguments]))
    return cfg


def train_fast(cfg):
    """As train(), by the runner that the options choose."""
    cfg.experiment_name = f'run_{next(NUMBERS)}'
    runner = RUNNERS.build(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder


@pytest.mark.parametrize('name', [DENSECL, PIXPRO, MCL])
def test_layout_and_recomputation_change_no_loss(images, tmp_path, name):
    before, plain = train(recipe(name, images, tmp_path / 'a'))
    assert len(plain.losses) == 2
    cfg = recipe(name, images, tmp_path / 'b', '--channels-last')
    cfg.speed.checkpoint = ['backbone']
    runner, fast = train_fast(cfg)
    weight = next(p for p in runner.model.backbone.parameters() if p.dim() == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert fast.losses == pytest.approx(plain.losses, rel=1e-3)
    # running statistics, too, moved once a step
    for (key, a), (_, b) in zip(
        before.model.backbone.named_buffers(), runner.model.backbone.named_buffers()
    ):
        if 'running' in key:
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4), key


@pytest.mark.parametrize('name', [DENSECL, PIXPRO, MCL])
def test_colours_on_the_device(images, tmp_path, name):
    cfg = recipe(name, images, tmp_path / 'a', '--colour', 'device')
    runner, record = train(cfg)
    assert torch.tensor(record.losses).isfinite().all()
    batch = next(iter(runner.train_dataloader))
    views = len(batch['inputs'])
    assert batch['data_samples'][0].view_colors.shape == (views,)
    out = runner.model.data_preprocessor(batch, True)
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    changed = [
        ((x * std + mean) - u.float()).abs().mean() > 1
        for x, u in zip(out['inputs'], batch['inputs'])
    ]
    assert all(changed)


@HOOKS.register_module()
class WatchDtype(Hook):
    """Keeps the dtypes that the online backbone computes in."""

    seen = set()

    def before_train(self, runner):
        conv = next(m for m in runner.model.backbone.modules() if isinstance(m, torch.nn.Conv2d))
        conv.register_forward_hook(lambda module, x, y: self.seen.add(y.dtype))


@pytest.mark.skipif(torch.cuda.is_available(), reason='the CPU path')
@pytest.mark.parametrize('name', [DENSECL, PIXPRO, MCL])
def test_bfloat16(images, tmp_path, name):
    _, plain = train(recipe(name, images, tmp_path / 'a'))
    cfg = recipe(name, images, tmp_path / 'b', '--amp', 'bfloat16')
    WatchDtype.seen.clear()
    cfg.custom_hooks.append(dict(type='WatchDtype'))
    runner, mixed = train(cfg)
    assert WatchDtype.seen == {torch.bfloat16}
    assert mixed.losses != plain.losses
    assert mixed.losses == pytest.approx(plain.losses, rel=0.03)
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='no C++ compiler')
@pytest.mark.parametrize('name', [DENSECL, PIXPRO, MCL])
def test_compiled_backbones(images, tmp_path, name):
    _, plain = train(recipe(name, images, tmp_path / 'a'))
    _, fast = train_fast(recipe(name, images, tmp_path / 'b', '--compile'))
    assert fast.losses == pytest.approx(plain.losses, rel=1e-3)
    keys = torch.load(tmp_path / 'b' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert not [k for k in keys if '_orig_mod' in k]


def test_data_wait_is_logged(images, tmp_path):
    cfg = recipe(PIXPRO, images, tmp_path)
    cfg.default_hooks.logger.interval = 2
    runner, _ = train(cfg)
    hub = runner.message_hub
    waited, whole = (hub.get_scalar(f'train/{name}').data[0] for name in ('data_time', 'time'))
    shares = hub.get_scalar('train/data_wait').data[0]
    assert len(shares) == 2 and all(0 < s < 1 for s in shares)
    # both iterations that the line of the log stands for
    assert shares[1] == pytest.approx(sum(waited) / sum(whole))


def test_compiling_and_recomputation_exclude_each_other(images, tmp_path):
    cfg = recipe(DENSECL, images, tmp_path, '--compile')
    cfg.speed.checkpoint = ['backbone']
    with pytest.raises(ValueError, match='--compile and --checkpoint-act'):
        train_fast(cfg)


@HOOKS.register_module()
class WatchQueues(Hook):
    """Keeps the queues that training starts with."""

    seen = []

    def before_train_epoch(self, runner):
        model = runner.model.module
        for queue in (model.queue, model.dense_queue):
            self.seen.append(queue.features.clone().numpy())


def queues_of_two_processes(rank, world, images, work_dir):
    os.environ['LOCAL_RANK'] = str(rank)
    cfg = config(DENSECL, images, work_dir, epochs=1, **{'model.queue_len': 64})
    cfg.custom_hooks.append(dict(type='WatchQueues'))
    cfg.launcher = 'pytorch'
    cfg.randomness.diff_rank_seed = True
    cfg.speed = dict(channels_last=True)
    train_fast(cfg)
    return WatchQueues.seen


def test_channels_last_queues_start_alike(tmp_path):
    images = image_folder(tmp_path / 'images', 40)
    first, second = run_distributed(queues_of_two_processes, args=(str(images), str(tmp_path)))
    assert len(first) == 2
    for a, b in zip(first, second):
        assert len(a) == 32  # shortened to fit the images
        assert np.array_equal(a, b)


class TestMerge:
    def cfg(self, *arguments):
        cfg = Config.fromfile(CONFIGS / DENSECL)
        apply_training(cfg, train_parser().parse_args(['c.py', *arguments]))
        place_colors(cfg)
        return cfg

    def colours(self, cfg):
        views = cfg.train_dataloader.dataset.pipeline[1]
        return {
            s.get('on_device', False)
            for p in views.transforms
            for s in p
            if s.type == 'RandomColor'
        }

    def test_colour(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        assert self.colours(self.cfg()) == {False}
        assert self.colours(self.cfg('--colour', 'device')) == {True}
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        assert self.colours(self.cfg()) == {True}
        assert self.colours(self.cfg('--colour', 'workers')) == {False}

    def test_an_inherited_packing_learns_the_key(self):
        cfg = Config.fromfile(CONFIGS / DENSECL)
        pack = cfg.train_dataloader.dataset.pipeline[-1]
        pack.algorithm_keys = ('view_boxes',)
        assert leave_colors_to_device(cfg) == 1
        assert tuple(pack.algorithm_keys) == ('view_boxes', 'view_colors')
        pack.algorithm_keys = ('view_boxes', 'view_colours')  # the old name
        assert leave_colors_to_device(cfg) == 1
        assert tuple(pack.algorithm_keys) == ('view_boxes', 'view_colours')

    def test_another_preprocessor_is_refused(self, monkeypatch):
        monkeypatch.setattr(
            Config,
            'fromfile',
            lambda path: Config(dict(data_preprocessor=dict(type='SelfSupDataPreprocessor'))),
        )
        with pytest.raises(ValueError, match='DenseDataPreprocessor'):
            self.cfg('--colour', 'device')

    def test_flags(self):
        assert 'speed' not in self.cfg()
        cfg = self.cfg('--channels-last', '--compile')
        assert cfg.speed == dict(channels_last=True, compile=True)
        cfg = self.cfg('--checkpoint-activations')
        assert cfg.speed == dict(checkpoint=[f'backbone.layer{i}' for i in (1, 2, 3, 4)])


def test_checkpointing_minds_norms_that_are_exchanged_later():
    torch.manual_seed(0)
    nets = [
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)) for _ in range(2)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    checkpoint_activations(nets[1])
    for net in nets:  # as sync_bn does, after the model was prepared
        norm = torch.nn.BatchNorm2d(4)
        norm.load_state_dict(net[1].state_dict())
        net[1] = norm
    x = torch.randn(2, 3, 6, 6)
    for net in nets:
        net(x).square().sum().backward()
    assert torch.equal(nets[0][1].running_mean, nets[1][1].running_mean)
    assert not (nets[0][1].running_mean == 0).all()
