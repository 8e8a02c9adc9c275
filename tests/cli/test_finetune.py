"""Options of the benchmark tools: checked, and merged where they belong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dense_ssl.cli.arguments import finetune_parser
from dense_ssl.cli.arguments import test_parser as parser_of_test
from dense_ssl.cli.build import build_config
from dense_ssl.cli.config import load_config
from dense_ssl.cli.flags import set_data
from dense_ssl.cli.options import merge_options
from dense_ssl.engine.processes import settle_processes
from dense_ssl.errors import UserError
from dense_ssl.finetune import fine_tune

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs' / 'benchmarks'
DETECTION = 'mmdetection/mask-rcnn_r50_fpn_1x_coco.py'
VOC = 'mmdetection/faster-rcnn_r50-c4_24k_voc0712.py'
CITYSCAPES = 'mmsegmentation/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py'
LINEAR = 'mmpretrain/linear_resnet50_8xb32-steplr-100e_in1k.py'


def package_of(config):
    package = dict(mmdetection='mmdet', mmsegmentation='mmseg')
    pytest.importorskip(package.get(config.split('/')[0], 'mmpretrain'))


def parsed(config, tmp_path, *words):
    package_of(config)
    words = ['--init-from', 'random', '--work-dir', str(tmp_path / 'work'), *words]
    return build_config(finetune_parser().parse_args([str(CONFIGS / config), *words]))


@pytest.mark.parametrize(
    'config, key, words',
    [
        (DETECTION, 'model.backbone.dept', 'mean model.backbone.depth?'),
        (DETECTION, 'modle.backbone.depth', 'mean model.backbone.depth?'),
        (DETECTION, 'val_evaluator.metrics', 'mean val_evaluator.metric?'),
        (DETECTION, 'model.test_cfg.rcnn.scor_thr', 'rcnn.score_thr?'),
        (DETECTION, 'model.roi_head.bbox_head.num_class', 'num_classes?'),
        (DETECTION, 'train_dataloader.batchsize', 'train_dataloader.batch_size?'),
        (DETECTION, 'vis_backends', 'would change nothing'),
        (CITYSCAPES, 'model.decode_head.num_conv', 'num_convs?'),
        (CITYSCAPES, 'crop_size', 'would change nothing'),
        (LINEAR, 'optim_wrapper.optimizer.momentm', 'momentum?'),
    ],
)
def test_keys_that_nothing_reads_are_refused(config, key, words):
    package_of(config)
    cfg = load_config(str(CONFIGS / config))
    with pytest.raises(UserError, match=re.escape(words)) as error:
        merge_options(cfg, {key: 1})
    assert f'--cfg-options {key}: ' in str(error.value)


@pytest.mark.parametrize('config', [DETECTION, VOC, CITYSCAPES, LINEAR])
def test_data_root_moves_all_data(config, tmp_path):
    old = parsed(config, tmp_path)
    cfg = parsed(config, tmp_path, '--cfg-options', 'data_root=/my images, b')
    text = [
        str(cfg[f'{split}_dataloader']) + str(cfg.get(f'{split}_evaluator'))
        for split in ('train', 'val', 'test')
    ]
    root = old.get('data_root') or old.train_dataloader.dataset.data_root
    for part in text:
        assert '/my images, b' in part
        assert root.rstrip('/') + '/' not in part
        assert f"'{root}'" not in part


def test_evaluator_follows_data_root(tmp_path):
    cfg = parsed(
        DETECTION, tmp_path, '--cfg-options', 'data_root=/x', 'val_dataloader.dataset.data_root=/y'
    )
    assert cfg.val_evaluator.ann_file.startswith('/x/annotations/')
    assert cfg.train_dataloader.dataset.data_root.rstrip('/') == '/x'
    assert cfg.val_dataloader.dataset.data_root == '/y'


def test_data_root_that_no_data_set_follows(tmp_path):
    package_of(CITYSCAPES)
    cfg = load_config(str(CONFIGS / CITYSCAPES))
    cfg.val_dataloader.dataset.data_root = 'elsewhere'
    with pytest.raises(UserError, match='of val .*--seg-data'):
        set_data(cfg, '/x')


def test_tensorboard_is_added(tmp_path):
    pytest.importorskip('tensorboard')
    cfg = parsed(DETECTION, tmp_path, '--tensorboard')
    assert cfg.visualizer.type == 'DetLocalVisualizer'
    assert [b['type'] for b in cfg.visualizer.vis_backends] == [
        'LocalVisBackend',
        'TensorboardVisBackend',
    ]


def test_work_dir_below_a_file_is_refused(tmp_path):
    (tmp_path / 'work').touch()
    with pytest.raises(UserError, match='--work-dir .* not a folder'):
        parsed(CITYSCAPES, tmp_path)


def test_absent_checkpoint_to_resume_is_refused(tmp_path):
    with pytest.raises(UserError, match='--resume gone.pth: no such'):
        parsed(CITYSCAPES, tmp_path, '--resume', 'gone.pth')
    cfg = parsed(CITYSCAPES, tmp_path)
    cfg.resume, cfg.load_from = True, 'gone.pth'
    torch.save({}, tmp_path / 'x.pth')
    with pytest.raises(UserError, match='--resume gone.pth: no such'):
        fine_tune(cfg, str(tmp_path / 'x.pth'))
    cfg = parsed(CITYSCAPES, tmp_path, '--resume')
    assert cfg.resume and cfg.load_from is None


def test_more_processes_than_gpus_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    with pytest.raises(UserError, match='2 processes .* 1 visible GPU'):
        settle_processes(parsed(CITYSCAPES, tmp_path, '--launcher', 'pytorch'))


def test_cpu_processes_get_gloo_and_plain_norms(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = parsed(CITYSCAPES, tmp_path, '--launcher', 'pytorch')
    settle_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.sync_bn is None
    assert cfg.model_wrapper_cfg.device_ids is None


def test_tool_refuses_in_one_line(tmp_path):
    pytest.importorskip('mmseg')
    done = subprocess.run(
        [
            str(ROOT / 'tools/benchmarks/mmsegmentation/dist_train.sh'),
            str(CONFIGS / CITYSCAPES),
            'random',
            '1',
            '--work-dir',
            str(tmp_path),
            '--resume',
            'gone.pth',
        ],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHON': sys.executable},
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == ('error: --resume gone.pth: no such file.')
    assert 'Traceback' not in done.stderr


@pytest.fixture
def tree(tmp_path):
    """The launchers, beside an environment whose Python only tells."""
    tools = tmp_path / 'tools'
    (tools / 'benchmarks').mkdir(parents=True)
    for name in ('launch_env.sh', 'benchmarks/launch.sh'):
        (tools / name).write_text((ROOT / 'tools' / name).read_text())
    python = tmp_path / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\ncase "$*" in\n  *cpu_count*) echo 8 ;;\n'
        '  *socket*) echo 12345 ;;\n'
        '  *) echo "threads=$OMP_NUM_THREADS $*" ;;\nesac\n'
    )
    python.chmod(0o755)

    def launch(*arguments, **environment):
        return subprocess.run(
            ['bash', str(tools / 'benchmarks' / 'launch.sh'), *arguments],
            capture_output=True,
            text=True,
            env=dict(PATH='/usr/bin:/bin', **environment),
        )

    return launch


def test_launcher_finds_python_threads_and_a_port(tree):
    done = tree('train', 'a b.py', 'random', '2', '--seed', '1')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('threads=4 -m torch.distributed.run')
    assert '--master_port=12345 --nproc_per_node=2' in done.stdout
    assert 'finetune.py a b.py --checkpoint random --seed 1 --launcher pytorch' in (done.stdout)
    done = tree('test', 'a.py', 'x.pth', '1', OMP_NUM_THREADS='3')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('threads=3 ')
    assert 'distributed' not in done.stdout
    assert done.stdout.strip().endswith('test.py a.py x.pth')


def test_the_batch_of_a_test(tmp_path):
    package_of(CITYSCAPES)
    words = [str(CONFIGS / CITYSCAPES), 'x.pth', '--work-dir', str(tmp_path), '--batch-size']
    assert build_config(parser_of_test().parse_args([*words, '7'])).test_dataloader.batch_size == 7
    with pytest.raises(UserError, match='--batch-size must be 1 or more'):
        build_config(parser_of_test().parse_args([*words, '0']))


def test_a_detector_in_bfloat16_needs_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match='overlapping boxes in float32 only: leave --amp out'):
        parsed(DETECTION, tmp_path, '--amp', 'bfloat16')
    assert parsed(CITYSCAPES, tmp_path, '--amp', 'bfloat16').optim_wrapper.dtype == 'bfloat16'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert parsed(DETECTION, tmp_path, '--amp', 'bfloat16').optim_wrapper.dtype == 'bfloat16'
