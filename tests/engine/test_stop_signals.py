"""A run that is told to stop saves, and its rest equals that of an uninterrupted one."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest
import torch

from dense_ssl.engine.hooks.stop_signal_hook import EXIT_CODE, Signals
from dense_ssl.engine.runner import DenseRunner

from .runs import ROOT, config, environment, finish, image_folder, start, train

DENSECL = 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'), 21)


def recipe(images, work_dir, workers=0, epochs=3, **options):
    return config(
        DENSECL, images, work_dir, epochs=epochs,
        **{'model.queue_len': 8, 'train_dataloader.num_workers': workers, **options},
    )  # fmt: skip


def same_end(one, other, epoch=3):
    a, b = (torch.load(f / f'epoch_{epoch}.pth', weights_only=False) for f in (one, other))
    assert a['meta']['iter'] == b['meta']['iter']
    assert all(torch.equal(a['state_dict'][k], b['state_dict'][k]) for k in a['state_dict'])


def stopped(images, work_dir, name, iteration, **options):
    cfg = recipe(images, work_dir, **options)
    cfg.custom_hooks.append(dict(type='SignalAt', name=name, iteration=iteration))
    return cfg


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('iteration', [6, 9])  # within the second epoch of five, and its last
def test_the_rest_is_the_same(images, tmp_path, workers, iteration):
    from . import killers  # noqa: F401

    options = {'workers': workers, 'model.end_momentum': 1.0}
    straight, whole = train(recipe(images, tmp_path / 'a', **options))
    with pytest.raises(SystemExit) as end:
        train(stopped(images, tmp_path / 'b', 'SIGUSR1', iteration, **options))
    assert end.value.code == EXIT_CODE == 75
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert (tmp_path / 'b' / 'last_checkpoint').read_text().endswith('stopped.pth')
    cfg = recipe(images, tmp_path / 'b', **options)
    cfg.resume = True
    _, rest = train(cfg)
    assert rest.losses == whole.losses[iteration + 1 :]
    assert rest.momenta == whole.momenta[iteration + 1 :]
    same_end(tmp_path / 'a', tmp_path / 'b')
    assert not (tmp_path / 'b' / 'stopped.pth').exists()


def test_it_waits_for_the_end_of_an_accumulation(images, tmp_path):
    from . import killers  # noqa: F401

    options = {'optim_wrapper.accumulative_counts': 3}
    _, whole = train(recipe(images, tmp_path / 'a', **options))
    with pytest.raises(SystemExit):
        train(stopped(images, tmp_path / 'b', 'SIGUSR1', 6, **options))
    cfg = recipe(images, tmp_path / 'b', **options)
    cfg.resume = True
    assert train(cfg)[1].losses == whole.losses[9:]
    same_end(tmp_path / 'a', tmp_path / 'b')


@pytest.mark.slow
@pytest.mark.parametrize('every, accumulated, kept', [(2, 1, 8), (4, 3, 5), (5, 1, 5)])
def test_a_run_that_is_killed_loses_no_more_than_save_every(
    images, tmp_path, every, accumulated, kept
):
    options = {
        'workers': 2,
        'optim_wrapper.accumulative_counts': accumulated,
        'default_hooks.checkpoint.interval': 3,
    }
    _, whole = train(recipe(images, tmp_path / 'a', **options))
    cfg = stopped(images, tmp_path / 'b', 'SIGKILL', 8, **options)
    code, output = finish(cfg, '--save-every', every)
    assert code == -signal.SIGKILL, output[-3000:]
    cfg = recipe(images, tmp_path / 'b', **options)
    cfg.resume = True
    assert train(cfg)[1].losses == whole.losses[kept:]
    same_end(tmp_path / 'a', tmp_path / 'b')
    assert not (tmp_path / 'b' / 'stopped.pth').exists()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'])
def test_a_command(images, tmp_path, name):
    """The signal comes from outside, at whatever moment."""
    train(recipe(images, tmp_path / 'a', epochs=40))
    folder = tmp_path / 'b'
    process = start(recipe(images, folder, epochs=40))
    deadline = time.time() + 120
    while not list(folder.glob('epoch_*.pth')) and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 75 and 'Traceback' not in output, output[-3000:]
    assert f'{name}: stopped after iteration' in output
    code, output = finish(recipe(images, folder, epochs=40), '--resume')
    assert code == 0, output[-3000:]
    same_end(tmp_path / 'a', folder, 40)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_workers_that_are_told_too(images, tmp_path, name):
    """As Ctrl-C and schedulers do it: every process of the run gets the signal."""
    process = start(
        recipe(images, tmp_path, workers=2, **{'train_cfg.max_epochs': 500}),
        start_new_session=True,
    )
    deadline = time.time() + 120
    while not list(tmp_path.glob('epoch_*.pth')) and time.time() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, getattr(signal, name))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 75 and 'Traceback' not in output, output[-3000:]
    with pytest.raises(ProcessLookupError):  # nobody is left
        os.killpg(process.pid, 0)


class Slow(torch.utils.data.Dataset):
    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return 4

    def __getitem__(self, index):
        time.sleep(self.seconds * index)
        return index


def loader(seconds):
    return DenseRunner.build_dataloader(
        dict(
            dataset=Slow(seconds),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1,
            num_workers=2,
        )
    )


def test_a_worker_hears_its_owner_alone():
    with Signals():
        batches = iter(loader(0.3))  # they may not have begun
        for worker in batches._workers:
            for name in ('SIGTERM', 'SIGINT', 'SIGUSR1'):
                subprocess.run(['kill', f'-{name}', str(worker.pid)], check=True)
        assert [int(x[0]) for x in batches] == [0, 1, 2, 3]


def test_a_worker_that_is_stuck_does_not_hold_its_owner_up():
    with Signals():
        batches = iter(loader(60))
        next(batches)
        workers, start = batches._workers, time.monotonic()
        del batches
        for worker in workers:
            worker.join(20)
        assert time.monotonic() - start < 50
        assert not any(worker.is_alive() for worker in workers)


@pytest.mark.slow
def test_two_processes_stop_together(images, tmp_path):
    """One of two is told; both stop at one step, and the rest is the same."""

    def run(folder, *more, **changes):
        cfg = recipe(images, tmp_path / folder)
        cfg.custom_hooks += changes.get('hooks', [])
        needed = ['tests.models.tiny', 'tests.engine.killers']
        cfg.custom_imports = dict(imports=needed, allow_failed_imports=False)
        path = tmp_path / f'{folder}{len(more)}.py'
        cfg.dump(path)
        command = ['bash', ROOT / 'tools' / 'dist_train.sh', path, 2, '--work-dir', cfg.work_dir]
        return subprocess.run(
            [str(c) for c in [*command, *more]],
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200,
        )  # fmt: skip

    assert run('a').returncode == 0
    done = run('b', hooks=[dict(type='SignalAt', name='SIGUSR1', iteration=2, rank=1)])
    assert done.returncode != 0 and 'stopped after iteration' in done.stderr + done.stdout
    assert (tmp_path / 'b' / 'stopped.pth').exists()
    done = run('b', '--resume')
    assert done.returncode == 0, done.stderr[-3000:]
    same_end(tmp_path / 'a', tmp_path / 'b')


def test_forked_processes_end_when_their_owner_wants():
    """They have the handler of the run; a pool's would else be waited for without end."""
    codes = []
    with Signals() as signals:
        for wait in [0.3, *[0.0] * 150]:  # at once, too
            process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
            process.start()
            time.sleep(wait)
            process.terminate()
            process.join(10)
            codes.append(process.exitcode)
            process.kill()
    assert codes == [-signal.SIGTERM] * 151 and signals.told is None


def test_a_forked_process_that_waits_for_a_lock_ends_too():
    context = multiprocessing.get_context('fork')
    with Signals():
        lock = context.Lock()
        with lock:
            process = context.Process(target=lock.acquire)
            process.start()
            time.sleep(0.3)
            process.terminate()
            process.join(10)
            code = process.exitcode
            process.kill()
    assert code == -signal.SIGTERM
