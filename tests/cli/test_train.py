import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import build_config
from dense_ssl.cli.config import load_config
from dense_ssl.cli.flags import set_view_size
from dense_ssl.engine.processes import settle_processes
from dense_ssl.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'densecl'
PRESET = CONFIGS / 'densecl_resnet50_8xb32-coslr-200e_in1k.py'
SMALL = [
    'model.backbone.depth=18',
    'model.projector.in_channels=512',
    'model.projector.hidden_channels=32',
    'model.queue_len=6',
    'train_dataloader.batch_size=4',
    'train_dataloader.num_workers=0',
    'train_dataloader.dataset.pipeline.1.view_size=64',
    'train_cfg.max_epochs=1',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
]


def merged(tmp_path, *arguments, preset=PRESET):
    args = train_parser().parse_args([str(preset), '--work-dir', str(tmp_path), *arguments])
    return build_config(args)


def long_queue(cfg):
    return [h.long_queue for h in cfg.custom_hooks if h.type == 'dense_ssl.FitCheckHook']


@pytest.mark.parametrize('words', [['--data', 'a/b'], ['--cfg-options', 'data_root=a/b']])
def test_data(tmp_path, words):
    cfg = merged(tmp_path, *words)
    assert cfg.train_dataloader.dataset.data_root == 'a/b'
    assert long_queue(cfg) == []  # the hook's default shortens it


def test_data_from_a_list_and_from_a_pack(tmp_path):
    (tmp_path / 'list.txt').touch()
    dataset = merged(tmp_path, '--data', str(tmp_path / 'list.txt')).train_dataloader.dataset
    assert (dataset.data_root, dataset.ann_file) == (str(tmp_path), str(tmp_path / 'list.txt'))
    (tmp_path / 'pack.tar').touch()
    dataset = merged(tmp_path, '--data', str(tmp_path / 'pack.tar')).train_dataloader.dataset
    assert dataset.data_root == str(tmp_path / 'pack.tar') and not dataset.get('ann_file')


def test_data_of_several_folders(tmp_path):
    dataset = merged(tmp_path, '--data', 'a', 'b.tar', 'c').train_dataloader.dataset
    assert dataset.data_root == ['a', 'b.tar', 'c']
    args = train_parser().parse_args(['--data', 'a', 'b', str(PRESET), '--seed', '1'])
    assert (args.config, args.data, args.seed) == (str(PRESET), ['a', 'b'], 1)
    args = train_parser().parse_args(['--data', 'a', 'dense_ssl::densecl/x'])
    assert (args.config, args.data) == ('dense_ssl::densecl/x', ['a'])
    labeled = 'projects/supervised_mcl/configs'
    preset = next((ROOT / labeled).glob('*contrast*.py'))
    with pytest.raises(UserError, match='--data a b: only pre-training'):
        merged(tmp_path, '--data', 'a', 'b', preset=preset)


def test_queue_length_that_is_given_is_kept_to(tmp_path):
    cfg = merged(tmp_path, '--data', 'x', '--cfg-options', 'model.queue_len=512')
    assert cfg.model.queue_len == 512 and long_queue(cfg) == ['error']


def test_flags_and_their_aliases(tmp_path):
    flags = merged(tmp_path, '--view-size', '64', '--epochs', '7', '--batch-size', '4')
    options = merged(
        tmp_path,
        '--cfg-options',
        'view_size=64',
        'train_cfg.max_epochs=7',
        'train_dataloader.batch_size=4',
    )
    assert flags.pretty_text == options.pretty_text
    assert flags.param_scheduler[0].T_max == 7
    with pytest.raises(UserError, match='--epochs and --cfg-options train_cfg.max_epochs'):
        merged(tmp_path, '--epochs', '7', '--cfg-options', 'train_cfg.max_epochs=7')
    with pytest.raises(UserError, match='say --epochs'):
        merged(tmp_path, '--iters', '7')


def test_options_win_over_flags(tmp_path):
    cfg = merged(tmp_path, '--epochs', '8', '--cfg-options', 'param_scheduler.0.T_max=5', '+a.b=3')
    assert cfg.param_scheduler[0].T_max == 5 and cfg.a.b == 3


def test_another_loop_by_options(tmp_path):
    cfg = merged(
        tmp_path,
        '--cfg-options',
        'train_cfg.type=IterBasedTrainLoop',
        '+train_cfg.max_iters=5',
    )
    assert cfg.train_cfg.max_iters == 5


def test_seed_keeps_the_other_settings(tmp_path):
    cfg = merged(tmp_path, '--seed', '3', '--workers', '0')
    assert cfg.randomness.seed == 3 and cfg.randomness.diff_rank_seed
    assert cfg.train_dataloader.num_workers == 0


def test_options_reach_the_config(tmp_path):
    checkpoint = tmp_path / 'a.pth'
    checkpoint.touch()
    cfg = merged(
        tmp_path,
        '--accumulate',
        '4',
        '--auto-scale-lr',
        '--no-validate',
        '--resume',
        str(checkpoint),
        '--no-persistent-workers',
    )
    assert cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.auto_scale_lr.enable
    assert cfg.resume and cfg.load_from == str(checkpoint)
    assert cfg.train_dataloader.persistent_workers is False
    assert merged(tmp_path, '--resume').load_from is None
    assert merged(tmp_path, '--resume').resume


def test_tensorboard_is_added_once(tmp_path):
    pytest.importorskip('tensorboard')
    cfg = merged(tmp_path, '--tensorboard')
    kinds = [b['type'] for b in cfg.visualizer.vis_backends]
    assert kinds == ['LocalVisBackend', 'TensorboardVisBackend']


def test_amp(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    wrapper = merged(tmp_path, '--amp').optim_wrapper
    assert (wrapper.type, wrapper.dtype, wrapper.loss_scale) == (
        'dense_ssl.AmpOptimWrapper',
        'float16',
        'dynamic',
    )
    wrapper = merged(tmp_path, '--amp', 'bfloat16').optim_wrapper
    assert wrapper.dtype == 'bfloat16'
    assert wrapper.loss_scale == dict(enabled=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='float16 needs a CUDA.*bfloat16'):
        merged(tmp_path, '--amp')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--accumulate', '0'], '--accumulate 0'),
        (['--cfg-options', 'model.queue_length=4'], 'mean model.queue_len?'),
    ],
)
def test_bad_values(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        merged(tmp_path, *arguments)


def test_missing_resume_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='--resume gone.pth'):
        merged(tmp_path, '--resume', 'gone.pth')


def test_work_dir_that_is_a_file(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='cannot be made'):
        merged(tmp_path, '--work-dir', str(tmp_path / 'file'))


def test_misspelt_config_file():
    with pytest.raises(FileNotFoundError, match=f'Did you mean {PRESET}'):
        load_config(str(PRESET).replace('_8xb32', '_8x32'))


def test_nothing_changes_for_one_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = Config(dict(launcher='none', sync_bn='torch'))
    assert settle_processes(cfg) == []
    assert cfg.sync_bn == 'torch'


def test_cuda_keeps_the_configs_choice(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(launcher='pytorch', sync_bn='torch'))
    assert settle_processes(cfg) == []
    assert cfg.sync_bn == 'torch' and 'model_wrapper_cfg' not in cfg


def test_cpu_processes_use_gloo_and_plain_bn(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    cfg = Config(
        dict(launcher='pytorch', sync_bn='torch', env_cfg=dict(dist_cfg=dict(backend='nccl')))
    )
    notes = settle_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.sync_bn is None
    assert cfg.model_wrapper_cfg.device_ids is None
    assert len(notes) == 2 and 'BN' in notes[1]
    cfg.launcher = 'slurm'
    with pytest.raises(ValueError, match='needs CUDA'):
        settle_processes(cfg)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(16):
        pixels = rng.integers(0, 255, (64, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.png')
    return folder


def tool(*command):
    return subprocess.run(
        [str(c) for c in command],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '-1'},
    )


def test_tool_refuses_in_one_line(tmp_path):
    done = tool(
        sys.executable,
        ROOT / 'tools' / 'train.py',
        PRESET,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'modle.depth=3',
    )
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert done.stderr.strip().splitlines()[-1] == (
        "error: --cfg-options modle.depth: the config has no key 'modle'. "
        'Did you mean model.backbone.depth? To add a key, write +modle.depth=...'
    )


@pytest.mark.slow
def test_two_cpu_processes_train_and_resume(images, tmp_path):
    command = [
        ROOT / 'tools' / 'dist_train.sh',
        PRESET,
        2,
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        f'data_root={images}',
        *SMALL,
    ]
    done = tool(*command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    log = done.stdout + done.stderr
    assert 'communicate through gloo' in log
    assert 'Epoch(train) [1][2/2]' in log
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
    command[3:3] = ['--resume']
    command.append('train_cfg.max_epochs=2')
    done = tool(*command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    log = done.stdout + done.stderr
    assert 'Epoch(train) [2][1/2]' in log
    assert 'Epoch(train) [1][1/2]' not in log
    assert (tmp_path / 'run' / 'epoch_2.pth').is_file()


def test_launcher_refuses_a_wrong_number_of_processes():
    done = tool(ROOT / 'tools' / 'dist_train.sh', PRESET, 'two')
    assert done.returncode == 2
    assert "'two'" in done.stderr


def views_config(*crops):
    step = dict(
        type='GeometricMultiView',
        view_size=224,
        num_views=[1],
        transforms=[[dict(type='RandomResizedCropWithBox', **crop)] for crop in crops],
    )
    return Config(dict(train_dataloader=dict(dataset=dict(pipeline=[step]))))


def test_view_size_reaches_the_views():
    cfg = views_config({}, dict(scale=112), dict(scale=28))
    set_view_size(cfg, 96)
    (view,) = cfg.train_dataloader.dataset.pipeline
    assert view.view_size == 96
    assert [pipeline[0].get('scale') for pipeline in view.transforms] == [None, 48, 12]
    with pytest.raises(ValueError, match='12 pixels.*multiple of 8'):
        set_view_size(cfg, 100)
    cfg.train_dataloader.dataset.pipeline = []
    with pytest.raises(ValueError, match='no GeometricMultiView'):
        set_view_size(cfg, 96)


@pytest.mark.parametrize('size', [0, -32, 31.5, 'abc'])
def test_view_size_is_a_number_of_pixels(size):
    with pytest.raises(ValueError, match=f'view-size {size}: .* pixels'):
        set_view_size(views_config({}), size)


def test_view_size_cannot_resize_scales_of_unknown_kind():
    with pytest.raises(ValueError, match='scale .*set the scales'):
        set_view_size(views_config(dict(scale=(112, 96))), 96)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    cfg = Config(dict(launcher='pytorch'))
    assert settle_processes(cfg) == []
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '3')
    with pytest.raises(ValueError, match='3 processes .* 2 visible GPU'):
        settle_processes(cfg)
    cfg.launcher = 'none'
    assert settle_processes(cfg) == []


def test_a_cosine_follows_where_options_let_it_begin(tmp_path):
    preset = ROOT / 'configs/pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'
    words = 'param_scheduler.0.end=1 param_scheduler.1.begin=1'.split()
    cfg = merged(tmp_path, '--epochs', '5', '--cfg-options', *words, preset=preset)
    cosine = cfg.param_scheduler[1]
    assert (cosine.begin, cosine.end, cosine.T_max) == (1, 5, 4)


def test_a_runner_of_the_configs_own_stays(tmp_path):
    (tmp_path / 'c.py').write_text(f"_base_ = '{PRESET}'\nrunner_type = 'MyRunner'")
    assert merged(tmp_path, preset=tmp_path / 'c.py').runner_type == 'MyRunner'


@pytest.mark.parametrize('key', ['data_root', '+data_root'])
def test_an_alias_wants_a_value(tmp_path, key):
    assert merged(tmp_path, '--cfg-options', f'{key}=x').train_dataloader.dataset.data_root == 'x'
    with pytest.raises(UserError, match='a value is needed'):
        merged(tmp_path, '--cfg-options', f'{key}=none')


def test_data_of_another_kind(tmp_path):
    """A data set without a root of its own, with a test loop elsewhere."""
    (tmp_path / 'c.py').write_text(
        f"_base_ = '{PRESET}'\n"
        "train_dataloader = dict(dataset=dict(_delete_=True, type='mmpretrain.CustomDataset',"
        " data_prefix='x', pipeline=[]))\n"
        "val_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', data_root='y'))"
    )
    cfg = merged(tmp_path, '--data', 'z', preset=tmp_path / 'c.py')
    assert cfg.train_dataloader.dataset.data_root == 'z'
    assert cfg.val_dataloader.dataset.data_root == 'y'


def test_imports_that_options_name(tmp_path, monkeypatch):
    (tmp_path / 'imported_by_an_option.py').write_text('')
    monkeypatch.syspath_prepend(str(tmp_path))
    merged(tmp_path, '--cfg-options', 'custom_imports.imports=[imported_by_an_option]')
    assert 'imported_by_an_option' in sys.modules
