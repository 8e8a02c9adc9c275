"""Running cells: on the GPUs there are, side by side on a CPU, or as jobs of Slurm."""

import ctypes
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional, Protocol

from dense_ssl.errors import UserError

from .cells import Cell

__all__ = ['Command', 'Launcher', 'LocalLauncher', 'SlurmLauncher', 'cores', 'devices', 'run_cells']

_PACKAGE = Path(__file__).resolve().parents[1]
#: Where tools and configs lie; inside the package where it was installed as a wheel.
REPOSITORY = next(
    (p for p in (_PACKAGE.parent, _PACKAGE / '.mim') if (p / 'tools' / 'train.py').is_file()),
    _PACKAGE.parent,
)
_FULL = ('No space left on device', 'no space for', 'Disk quota exceeded')


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def devices(gpus: Optional[int], jobs: int) -> list[dict[str, str]]:
    """Environment variables of each place where a cell can run.

    Args:
        gpus: How many to use, a cell each; all that are visible if None, and 0 for the CPU.
        jobs: Cells side by side on a CPU.

    Raises:
        UserError: More GPUs than there are, or no job.
    """
    import torch

    names = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')
    there = torch.cuda.device_count()
    visible = names[:there] if len(names) >= there and names[0] else list(map(str, range(there)))
    gpus = there if gpus is None else gpus
    if gpus > there:
        raise UserError(f'--gpus {gpus}: {there} visible here.')
    if gpus:
        return [dict(CUDA_VISIBLE_DEVICES=name) for name in visible[:gpus]]
    if jobs < 1:
        raise UserError(f'--jobs must be 1 or more, got {jobs}.')
    threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, cores() // jobs))
    cpu = dict(
        CUDA_VISIBLE_DEVICES='-1',
        OMP_NUM_THREADS=threads,
        # Threads that wait must not spin: beside other work each step takes several times longer.
        OMP_WAIT_POLICY='PASSIVE',
        # glibc must keep large buffers, or a step spends much of its time in page faults.
        MALLOC_MMAP_MAX_='0',
        MALLOC_TRIM_THRESHOLD_='100000000000',
    )
    return [cpu] * jobs


class Handle(Protocol):
    """A running cell."""

    def poll(self) -> Optional[int]:
        """Exit code, None while it runs."""

    def stop(self) -> None:
        """Ask it to end, and wait for that."""


class Launcher(Protocol):
    """Where cells run."""

    places: int  # cells at a time

    def start(self, cell: Cell) -> Handle: ...

    def attach(self, cell: Cell) -> Optional[Handle]:
        """A job that an earlier study left running."""


class Command:
    """A cell's command with its whole output appended to the log; also what a Slurm job runs."""

    def __init__(self, cell: Cell, env: dict[str, str]) -> None:
        self.words, self.log, self.env = cell.command, cell.log, env

    def popen(self, **options) -> subprocess.Popen:
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
        env = {**os.environ, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1', **self.env}
        with self.log.open('a', encoding='utf-8', errors='backslashreplace') as file:
            file.write(shlex.join(self.words) + '\n')
            file.flush()
            return subprocess.Popen(
                self.words, cwd=REPOSITORY, env=env, stdout=file, stderr=file, **options
            )

    def __call__(self) -> int:
        return self.popen().wait()

    def checkpoint(self):
        """Submitit asks for this where a job is preempted or runs out of time: go on from there."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Process:
    def __init__(self, command: Command, done: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None)

        def die_with_parent() -> None:
            libc.prctl(1, signal.SIGKILL)  # or two would write into the cell after a kill -9

        on_linux = hasattr(libc, 'prctl')
        self.child = command.popen(
            start_new_session=True, preexec_fn=die_with_parent if on_linux else None
        )
        self.done = done

    def poll(self) -> Optional[int]:
        code = self.child.poll()
        if code is not None:
            self.done()
        return code

    def stop(self) -> None:
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)  # trainings write a checkpoint and end
            try:
                self.child.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        self.done()


class LocalLauncher:
    """Processes here, one in each place.

    Args:
        places: Environment variables of each; see :func:`devices`.
    """

    def __init__(self, places: Sequence[dict[str, str]]) -> None:
        self.places = len(places)
        self.free = list(places)

    def start(self, cell: Cell) -> Handle:
        place = self.free.pop(0)
        return _Process(Command(cell, place), lambda: self.free.insert(0, place))

    def attach(self, cell: Cell) -> None:
        return None


class _Job:
    def __init__(self, job) -> None:
        self.job = job

    def poll(self) -> Optional[int]:
        if not self.job.done():
            return None
        return 1 if self.job.exception() else self.job.result()

    def stop(self) -> None:
        self.job.cancel()


class SlurmLauncher:
    """A Slurm job for each cell, by submitit.

    Args:
        folder: For its scripts and logs, on a file system that all nodes see.
        parameters: Of submitit, e.g. ``timeout_min``, ``cpus_per_task``, ``gpus_per_node``;
            names that are Slurm's own (``partition``) as they are. ``cluster`` may be ``local`` or
            ``debug`` to try without Slurm.

    Raises:
        UserError: submitit is absent, or knows no such parameter.
    """

    places = 1000
    _GENERIC = {'timeout_min', 'mem_gb', 'nodes', 'cpus_per_task', 'gpus_per_node', 'name'}

    def __init__(self, folder: Path, parameters: dict) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError('--slurm needs submitit: `pip install submitit`.') from None
        parameters = {'name': 'dense_ssl', 'gpus_per_node': 1, 'cpus_per_task': 8, **parameters}
        self.cluster = parameters.pop('cluster', 'slurm')
        self.jobs = dict(slurm='SlurmJob', local='LocalJob')
        self.submitit, self.folder = submitit, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster)
        try:
            self.executor.update_parameters(
                **{k if k in self._GENERIC else f'slurm_{k}': v for k, v in parameters.items()}
            )
        except NameError as error:
            raise UserError(f'--slurm: {error}') from error

    def start(self, cell: Cell) -> Handle:
        job = self.executor.submit(Command(cell, {}))
        cell.job = str(job.job_id)
        cell.save()
        return _Job(job)

    def attach(self, cell: Cell) -> Optional[Handle]:
        kind = getattr(self.submitit, self.jobs.get(self.cluster, ''), None)
        if not cell.job or kind is None:
            return None
        job = kind(folder=self.folder, job_id=cell.job)
        return None if job.done() else _Job(job)


def run_cells(
    cells: Sequence[Cell],
    launcher: Launcher,
    changed: Callable[[Cell], None],
    tick: Callable[[], None] = lambda: None,
    pause: float = 0.2,
) -> None:
    """Run what is to do, in order, as many at a time as there are places.

    A failed cell blocks those that need it; the rest goes on. However this ends, nothing is left
    running.

    Args:
        cells: In an order in which no cell needs a later one.
        launcher: Runs them.
        changed: Called with each cell that changed its state.
        tick: Called again and again while something runs.
        pause: Seconds between looks at what runs.

    Raises:
        UserError: The disk is full: all others would fail too.
    """
    state = {cell.id: cell for cell in cells}
    running: dict[str, Handle] = {}

    def finish(cell: Cell, code: int) -> None:
        del running[cell.id]
        cell.end(code)
        changed(cell)
        if cell.state == 'failed' and any(sign in (cell.error or '') for sign in _FULL):
            raise UserError(
                f'{cell.id} found no space left on the disk of {cell.folder}. Make room, then give '
                'the same command again: it goes on from here.'
            )

    try:
        while True:
            for cell in cells:
                if cell.state != 'to do':
                    continue
                needs = [state[name].state for name in cell.needs]
                if 'failed' in needs or 'blocked' in needs:
                    cell.state, cell.error = 'blocked', f'needs {", ".join(cell.needs)}'
                    changed(cell)
                elif len(running) < launcher.places and all(need == 'done' for need in needs):
                    handle = launcher.attach(cell)
                    cell.job = cell.job if handle else None
                    cell.begin()
                    running[cell.id] = handle or launcher.start(cell)
                    changed(cell)
            if not running:
                return
            time.sleep(pause)
            tick()
            for name, handle in list(running.items()):
                code = handle.poll()
                if code is not None:
                    finish(state[name], code)
    finally:
        for handle in running.values():
            handle.stop()
        for name in running:
            state[name].interrupted()
