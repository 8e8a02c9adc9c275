"""A really tiny study by the real tools: its figures, and the same after two kills."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from dense_ssl.transfer import read_checkpoint

from ..engine.runs import ROOT, environment
from .studies import words

pytestmark = pytest.mark.slow


def command(scenes, work_dir, *more):
    return [
        *(sys.executable, str(ROOT / 'tools' / 'compare.py')),
        *words(scenes, work_dir, '--seeds', 1, '--labels', 0.5, *more),
    ]


def run(*arguments, folder):
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment(), text=True, capture_output=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / 'results.json').read_text())
    return {cell['id']: cell for cell in results['cells']}, done.stdout


@pytest.fixture(scope='module')
def whole(scenes, tmp_path_factory):
    """A study that nothing interrupts."""
    folder = tmp_path_factory.mktemp('study') / 'whole'
    return folder, *run(*command(scenes, folder, '--methods', 'mocov2'), folder=folder)


def test_every_cell_has_its_figures(whole):
    folder, cells, output = whole
    row = 'mocov2-seed0'
    assert [*cells] == [f'{row}/pretrain', f'{row}/probe', f'{row}/segmentation-0.5']
    assert {cell['state'] for cell in cells.values()} == {'done'}
    for name, cell in cells.items():
        wanted = {'probe': {'probe_mIoU', 'knn_mIoU'}, 'segmentation': {'mIoU', 'aAcc'}}
        assert {*cell['metrics']} == wanted.get(cell['task'], set()), name
        assert all(0 <= value <= 100 for value in cell['metrics'].values())
    curve = cells[f'{row}/pretrain']['curve']
    assert len(curve) == 12 and curve[-1]['step'] == 12 and curve[0]['loss'] > 0
    assert '3 cells, 0 done before' in output and 'left' in output
    assert (folder / 'report.html').is_file()


def test_kill_twice_and_go_on_with_the_same_figures(whole, scenes, tmp_path):
    folder = tmp_path / 'killed'
    arguments = command(scenes, folder, '--methods', 'mocov2', '--tasks', 'segmentation')
    for cell, sign in (('pretrain', 'iter_*.pth'), ('segmentation-0.5', '*/vis_data/scalars.json')):
        place = folder / 'cells' / 'mocov2-seed0' / cell
        study = subprocess.Popen(arguments, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
        limit = time.monotonic() + 300
        while not [*place.glob(sign)]:
            assert study.poll() is None and time.monotonic() < limit
            time.sleep(0.005)
        os.kill(study.pid, signal.SIGKILL)
        study.wait()
        record = json.loads((place / 'cell.json').read_text())
        assert record['state'] == 'running'
        assert not (place / 'iter_12.pth').exists(), 'killed too late to show anything'
    cells, _ = run(*arguments, folder=folder)
    assert len(cells) == 2
    for name, cell in cells.items():
        same = whole[1][name]
        assert cell['metrics'] == same['metrics']
        assert [p['step'] for p in cell['curve']] == [p['step'] for p in same['curve']], name
        here, there = (
            read_checkpoint(root / cell['folder'] / 'iter_12.pth').state_dict
            for root in (folder, whole[0])
        )
        assert all(torch.equal(here[key], there[key]) for key in there), name
        attempts = (folder / cell['folder'] / 'output.log').read_text().count('--work-dir')
        assert attempts == 2
