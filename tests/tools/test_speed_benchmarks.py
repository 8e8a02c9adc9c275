"""The benchmarks of a step and of the views, at their smallest."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools/speed'
STEP = [
    'model.backbone.depth=18',
    'model.projector.in_channels=512',
    'model.projector.hidden_channels=16',
    'model.queue_len=16',
    'train_dataloader.dataset.pipeline.1.view_size=64',
]


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS))
    threads = torch.get_num_threads()

    def run(tool, *arguments):
        """What the tool wrote to stdout as JSON."""
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
        out = capsys.readouterr().out
        return json.loads(out[out.index('{') :])

    yield run
    torch.set_num_threads(threads)


def is_chart(path):
    with Image.open(path) as image:
        extremes = image.convert('L').getextrema()
    return extremes[0] < 50 and extremes[1] == 255


def test_train_step(run, tmp_path):
    result = run(
        'train_step.py',
        ROOT / 'configs/densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
        '--device',
        'cpu',
        '--threads',
        1,
        '--batch-size',
        2,
        '--repeats',
        1,
        '--warm-up',
        0,
        '--json',
        '-',
        '--plot',
        tmp_path / 'step.png',
        '--cfg-options',
        *STEP,
    )
    assert set(result) == {
        'step_s',
        'backbone_floor_s',
        'network_floor_s',
        'ratio_backbone',
        'ratio_network',
        'images_per_s',
        'peak_memory_mib',
        'breakdown',
    }
    parts = result['breakdown']
    assert {
        'data to device',
        'colour',
        'encoders',
        'neck and projectors',
        'correspondence',
        'loss',
        'optimiser',
        'momentum update',
        'gather',
    } <= set(parts)
    # what this step spends its time with on one process
    for name in (
        'data to device',
        'colour',
        'encoders',
        'neck and projectors',
        'correspondence',
        'loss',
        'backward',
        'optimiser',
        'momentum update',
        'queue',
    ):
        assert parts[name] > 0, name
    step = result['step_s']
    assert result['ratio_backbone'] == step / result['backbone_floor_s']
    assert result['ratio_network'] == step / result['network_floor_s']
    assert result['images_per_s'] == 2 / step
    assert result['peak_memory_mib'] > 100
    assert is_chart(tmp_path / 'step.png')


def test_compare_steps(run, tmp_path):
    configs = [
        ROOT / f'configs/densecl/{name}_resnet50_8xb32-coslr-200e_in1k.py'
        for name in ('densecl', 'mocov2')
    ]
    result = run(
        'compare_steps.py',
        *configs,
        '--switches',
        'plain',
        'channels-last+bf16',
        '--device',
        'cpu',
        '--threads',
        1,
        '--batch-size',
        2,
        '--repeats',
        1,
        '--warm-up',
        1,
        '--json',
        '-',
        '--cfg-options',
        *STEP,
    )
    assert list(result) == [f'{c} {s}' for c in configs for s in ('plain', 'channels-last+bf16')]
    first, *_, last = result.values()
    assert first['ratio'] == 1
    assert last['ratio'] == last['step_s'] / first['step_s']
    assert last['images_per_s'] == 2 / last['step_s']


def test_data_pipeline(run, tmp_path):
    options = (
        '--number',
        2,
        '--repeats',
        1,
        '--view-size',
        32,
        '--device',
        'cpu',
        '--json',
        '-',
        '--plot',
        tmp_path / 'views.png',
    )
    result = run('data_pipeline.py', 'mocov2', *options)
    assert {'images_per_s', 'reference_images_per_s', 'ratio', 'breakdown'} <= set(result)
    assert result['ratio'] == (result['images_per_s'] / result['reference_images_per_s'])
    assert {
        'LoadRGBImage',
        'RandomResizedCropWithBox',
        'RandomColor',
        'RandomFlipWithBox',
        'collate',
    } <= set(result['breakdown'])
    assert is_chart(tmp_path / 'views.png')
    both = run('data_pipeline.py', 'byol', 'mcl_direct', *options)
    assert list(both) == ['byol', 'mcl_direct']
    assert set(both['byol']) == set(result)


def micro(run, *arguments):
    return run('micro.py', *arguments, '--device', 'cpu', '--repeats', 1, '--json', '-')


def test_micro_info_nce(run):
    result = micro(run, 'info-nce', '--rows', 8, '--queue', 64, '--dim', 8)
    assert result['ratio'] == result['plain_s'] / result['ours_s']
    assert 0 < result['ours_mib'] and 0 < result['plain_mib']


def test_micro_updates(run):
    result = micro(run, 'updates', '--depth', 18)
    assert result['momentum_ratio'] == result['loop_momentum_s'] / result['momentum_s']
    assert result['lars_over_sgd'] == result['lars_s'] / result['fused_sgd_s']


def test_micro_mcl_modes(run):
    result = micro(run, 'mcl-modes', '--batch-size', 4, '--view-size', 64, '--warm-up', 0)
    assert result['ratio'] == result['exact_s'] / result['selected_s']
    assert result['exact_gmac'] > 2 * result['selected_gmac'] > 0


def test_micro_shuffle():
    done = subprocess.run(
        [sys.executable, TOOLS / 'micro.py', 'shuffle', '--json', '-', '--repeats', '1']
        + ['--batch-size', '3', '--view-size', '32', '--channels', '8'],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout[done.stdout.index('{') :])
    assert result['ratio'] == result['plain_s'] / result['ours_s']
    numbers = 3 * (3 * 32**2 + 128 * 3 + 8)
    assert result['ours_mib'] == numbers * 4 / 2**20
    assert result['plain_mib'] == 2 * result['ours_mib']
