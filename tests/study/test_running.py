"""Cells: kept, continued, dealt out; with commands that do next to nothing."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

from dense_ssl.errors import UserError
from dense_ssl.study.budget import BUDGETS
from dense_ssl.study.cells import Cell, fingerprint, pretty
from dense_ssl.study.estimate import expected, remaining, set_priors
from dense_ssl.study.progress import Progress
from dense_ssl.study.running import LocalLauncher, SlurmLauncher, devices, run_cells

ROOT = Path(__file__).resolve().parents[2]
#: Counts its runs, and says on which device.
COUNT = (
    'import os; n = len(open("runs").read()) if os.path.exists("runs") else 0;'
    'open("runs", "a").write("x"); open("result", "w").write(os.environ.get("DEVICE", ""))'
)


def read(folder):
    return dict(metrics=dict(device=(folder / 'result').read_text()))


def cell(folder, name='a', code=COUNT, inputs=None, **rest) -> Cell:
    code = f'import os; os.chdir({str(folder / name)!r}); {code}'
    rest.setdefault('about', dict(kind='probe', task='probe', start=name))
    return Cell(name, folder / name, [sys.executable, '-c', code], inputs or {}, read, **rest)


def run(*cells, places=1, launcher=None) -> list:
    states = []
    for each in cells:
        each.recall()
    launcher = launcher or LocalLauncher([dict(DEVICE=str(i)) for i in range(places)])
    run_cells(cells, launcher, lambda c: states.append((c.id, c.state)), pause=0.01)
    return states


def test_finished_cells_are_reused_until_inputs_change(tmp_path):
    assert run(cell(tmp_path, inputs=dict(x=1))) == [('a', 'running'), ('a', 'done')]
    again = cell(tmp_path, inputs=dict(x=1))
    assert run(again) == [] and again.state == 'done'
    assert again.results['metrics'] == dict(device='0')
    assert (tmp_path / 'a' / 'runs').read_text() == 'x'
    (tmp_path / 'a' / 'old').touch()
    assert run(cell(tmp_path, inputs=dict(x=2)))
    assert (tmp_path / 'a' / 'runs').read_text() == 'x'
    assert not (tmp_path / 'a' / 'old').exists()


def test_failed_cell_is_recorded_and_the_rest_goes_on(tmp_path):
    cells = [
        cell(tmp_path, 'a', 'print("the reason"); raise SystemExit(3)'),
        cell(tmp_path, 'b', needs=('a',)),
        cell(tmp_path, 'c', needs=('b',)),
        cell(tmp_path, 'd', 'pass'),  # ends well, leaves nothing
        cell(tmp_path, 'e'),
    ]
    run(*cells)
    assert [c.state for c in cells] == ['failed', 'blocked', 'blocked', 'failed', 'done']
    assert 'exit code 3' in cells[0].error and 'the reason' in cells[0].error
    assert 'result' in cells[3].error and cells[1].error == 'needs a'
    # the same command tries again, in the same folder
    again = [cell(tmp_path, 'a'), cell(tmp_path, 'b', needs=('a',))]
    run(*again)
    assert [c.state for c in again] == ['done', 'done']


def test_a_cell_waits_for_what_it_needs_and_no_place_is_used_twice(tmp_path):
    code = COUNT + '; import time; time.sleep(0.2); open("end", "w").write(str(time.time()))'
    cells = [cell(tmp_path, name, code) for name in 'abcdef']
    cells.append(cell(tmp_path, 'z', code, needs=('a', 'f')))
    run(*cells, places=3)
    devices_used = [c.results['metrics']['device'] for c in cells]
    assert set(devices_used) == {'0', '1', '2'}
    by_device = {}
    for c in cells:
        began, ended = c.started, float((c.folder / 'end').read_text())
        by_device.setdefault(c.results['metrics']['device'], []).append((began, ended))
    for spans in by_device.values():
        spans.sort()
        assert all(end <= begin + 0.05 for (_, end), (begin, _) in zip(spans, spans[1:]))
    assert cells[-1].started >= float((cells[5].folder / 'end').read_text())


def test_devices(monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 3)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,6,7')
    assert [d['CUDA_VISIBLE_DEVICES'] for d in devices(None, 1)] == ['4', '6', '7']
    assert [d['CUDA_VISIBLE_DEVICES'] for d in devices(2, 1)] == ['4', '6']
    with pytest.raises(UserError, match='--gpus 4: 3 visible'):
        devices(4, 1)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr('dense_ssl.study.running.cores', lambda: 8)
    on_cpu = devices(0, 2)
    assert [d['OMP_NUM_THREADS'] for d in on_cpu] == ['4', '4']
    assert {d['CUDA_VISIBLE_DEVICES'] for d in on_cpu} == {'-1'}
    with pytest.raises(UserError, match='--jobs'):
        devices(0, 0)


def test_full_disk_stops_the_study_with_one_message(tmp_path):
    code = 'raise OSError(28, "No space left on device")'
    cells = [cell(tmp_path, 'a', code), cell(tmp_path, 'b')]
    with pytest.raises(UserError, match='Make room, then give the same command'):
        run(*cells)
    assert cells[1].state == 'to do'


def test_what_others_put_there_is_left_alone(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'photo.jpg').touch()
    with pytest.raises(UserError, match='was not made by a study'):
        run(cell(tmp_path))
    assert (tmp_path / 'a' / 'photo.jpg').exists()


def test_interrupt_ends_the_cell_and_keeps_it_to_do(tmp_path):
    class Interrupted(LocalLauncher):
        def start(self, cell):
            handle = super().start(cell)
            self.child = handle.child
            handle.poll = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
            return handle

    launcher = Interrupted([{}])
    waiting = cell(tmp_path, 'a', 'import time; time.sleep(60)')
    with pytest.raises(KeyboardInterrupt):
        run(waiting, launcher=launcher)
    assert waiting.state == 'to do' and launcher.child.returncode == -signal.SIGTERM
    assert json.loads((tmp_path / 'a' / 'cell.json').read_text())['state'] == 'to do'


def test_kill_leaves_no_cell_running(tmp_path):
    """kill -9 of the study ends its cells too: two would write into one folder."""
    program = f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from tests.study.test_running import cell, run
        code = 'import os, time; open("pid", "w").write(str(os.getpid())); time.sleep(60)'
        run(cell(Path({str(tmp_path)!r}), 'a', code))
    """
    study = subprocess.Popen([sys.executable, '-c', textwrap.dedent(program)])
    path = tmp_path / 'a' / 'pid'
    while not (path.exists() and path.read_text()):
        assert study.poll() is None
        time.sleep(0.02)
    study.kill()
    study.wait()
    for _ in range(500):
        try:
            os.kill(int(path.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        pytest.fail('the cell lives on')
    killed = cell(tmp_path, 'a', 'import os, time; open("pid", "w").write("0"); time.sleep(60)')
    killed.recall()
    assert killed.state == 'to do'


class FakeSubmitit(types.ModuleType):
    """Runs a job where it is submitted."""

    class AutoExecutor:
        def __init__(self, folder, cluster):
            self.cluster, self.jobs = cluster, []

        def update_parameters(self, **parameters):
            if 'slurm_colour' in parameters:
                raise NameError("Unknown argument 'colour'")
            self.parameters = parameters

        def submit(self, command):
            self.jobs.append(command)
            return FakeSubmitit.Job(command())

    class Job:
        job_id = 7

        def __init__(self, code):
            self.code = code

        def done(self):
            return True

        def exception(self):
            return None

        def result(self):
            return self.code


def test_slurm_gets_a_job_a_cell(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'submitit', FakeSubmitit('submitit'))
    launcher = SlurmLauncher(tmp_path / 'slurm', dict(partition='gpu', timeout_min=60))
    assert launcher.executor.parameters == dict(
        slurm_partition='gpu', timeout_min=60, name='dense_ssl', gpus_per_node=1, cpus_per_task=8
    )
    cells = [cell(tmp_path, 'a'), cell(tmp_path, 'b', 'raise SystemExit(2)')]
    run(*cells, launcher=launcher)
    assert [c.state for c in cells] == ['done', 'failed'] and len(launcher.executor.jobs) == 2
    with pytest.raises(UserError, match="Unknown argument 'colour'"):
        SlurmLauncher(tmp_path / 'slurm', dict(colour='red'))
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(UserError, match='pip install submitit'):
        SlurmLauncher(tmp_path / 'slurm', {})


def test_estimate_follows_those_that_have_finished(tmp_path):
    def timed(name, start, prior, **rest):
        return cell(tmp_path, name, prior=prior, about=dict(kind='pretrain', start=start), **rest)

    cells = [timed('a', 'x', 10), timed('b', 'x', 10), timed('c', 'y', 20)]
    assert remaining(cells, 1, 0) == 40 and remaining(cells, 2, 0) == 20
    cells[0].state, cells[0].seconds = 'done', 30  # three times as long
    assert expected(cells[1], cells) == 30 and expected(cells[2], cells) == 60
    assert remaining(cells, 1, 0) == 90
    cells[1].state, cells[1].started = 'running', 100
    assert remaining(cells, 1, 110) == 80
    assert [pretty(s) for s in (9, 150, 7500)] == ['9 s', '2 min', '2 h 05 min']


def test_first_estimate_is_within_a_factor_of_two(tmp_path):
    """Of what cells of the quick start took on one quiet core."""
    budget = dataclasses.replace(
        BUDGETS['tiny'], pretrain_iters=500, finetune_iters=100, scale=(128, 128)
    )
    took = dict(pretrain=60, probe=8, segmentation=24)
    cells = [
        cell(tmp_path, str(task), about=dict(kind=kind, task=task, start='x'))
        for kind, task in (('pretrain', None), ('probe', 'probe'), ('finetune', 'segmentation'))
    ]
    set_priors(cells, budget, 'cpu', threads=1, workers=1, labelled=16)
    for each, seconds in zip(cells, took.values()):
        assert seconds / 2 < each.prior < seconds * 2


def test_fingerprint_sees_every_change_but_a_move(tmp_path):
    folder = tmp_path / 'one'
    (folder / 'sub').mkdir(parents=True)
    (folder / 'sub' / 'a').write_text('x')
    (folder / 'loop').symlink_to('.')
    (folder / 'nowhere').symlink_to('gone')
    with open(os.fsencode(folder) + b'/caf\xe9.jpg', 'wb'):
        pass  # names need not be text
    before = fingerprint([folder])
    folder = folder.rename(tmp_path / 'two')
    assert fingerprint([folder]) == before
    os.utime(folder / 'sub' / 'a', ns=(1, 1))
    changed = fingerprint([folder])
    assert changed != before
    (folder / 'b').touch()
    assert fingerprint([folder]) not in (before, changed)


def test_bar_in_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sys.stdout.isatty', lambda: True, raising=False)
    cells = [cell(tmp_path, name) for name in 'ab']
    with Progress(cells, 1, print) as progress:
        assert progress.bar is not None
        run_cells(cells, LocalLauncher([{}]), progress.changed, progress.tick, pause=0.01)
        assert progress.bar.tasks[0].completed > 0.5
    assert '[2/2] b: done in' in capsys.readouterr().out


def test_lines_elsewhere(tmp_path):
    said = []
    cells = [cell(tmp_path, 'a'), cell(tmp_path, 'b', 'raise SystemExit(3)')]
    with Progress(cells, 1, said.append) as progress:
        run_cells(cells, LocalLauncher([{}]), progress.changed, progress.tick, pause=0.01)
    assert [line.split(':')[0] for line in said] == ['[0/2] a', '[1/2] a', '[1/2] b', '[2/2] b']
    assert 'log' in said[0] and 'left' in said[1] and 'exit code 3' in said[3]
