"""A run that is told to stop saves first."""

import os
import os.path as osp
import signal
import threading
from functools import partial
from types import FrameType
from typing import Callable, Optional

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from dense_ssl.files import write_atomically
from dense_ssl.registry import HOOKS

from ..saving import DiskFull, go_on
from ..work_folder import POINTER, STOPPED
from .exact_resume_hook import ExactResumeHook

__all__ = ['EXIT_CODE', 'Signals', 'StopSignalHook', 'outliving']

#: Of a run that was stopped and can be resumed: EX_TEMPFAIL of sysexits.h, "try again".
EXIT_CODE = 75


class Signals:
    """Notes the signals by which systems end a job, as long as it is entered."""

    names = ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1')
    noted: frozenset[int] = frozenset()  # by whoever is entered
    loading = False  # whether what is forked now are a loader's workers

    def __init__(self) -> None:
        self.told: Optional[str] = None
        self.former: dict[int, object] = {}

    def __enter__(self) -> 'Signals':
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, n) for n in self.names if hasattr(signal, n)):
                self.former[number] = signal.signal(number, self._note)
            Signals.noted = frozenset(self.former)
        return self

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        if self.told and number == signal.SIGINT:  # the second Ctrl-C
            raise KeyboardInterrupt
        self.told = signal.Signals(number).name

    def __exit__(self, *error) -> None:
        Signals.noted = frozenset()
        for number, handler in self.former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, Signals.noted)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, Signals.noted)


def _forget() -> None:
    """A pool's process ends on them, wherever it waits; a loader's worker see below."""
    if not Signals.loading:
        for number in Signals.noted:
            signal.signal(number, signal.SIG_DFL)
        _release()


# Python forgets a signal that reaches a process between its fork and its first own step.
os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)


class _Outliving(DataLoader):
    """A loader whose workers outlive the signals by which a run is told to stop."""

    def __iter__(self):
        Signals.loading = True
        try:
            return super().__iter__()
        finally:
            Signals.loading = False


def outliving(loader: DataLoader) -> DataLoader:
    """Make it so, in place."""
    if type(loader) is DataLoader:
        loader.__class__ = _Outliving
    loader.worker_init_fn = partial(outlive_signals, then=loader.worker_init_fn)
    return loader


def outlive_signals(worker_id: int, then: Optional[Callable[[int], None]] = None) -> None:
    """Begin a loader's worker: it goes on until its owner, who was told too, has stopped.

    SIGTERM is also how the owner ends a worker that does not end by itself. torch's handler tells
    the two apart, but dies of a foreign one; ignored, the owner would wait without end.

    Args:
        worker_id: As torch counts them.
        then: What else begins a worker.
    """
    if Signals.noted:
        others = Signals.noted - {signal.SIGTERM}
        for number in others:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, others)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_owner, args=(os.getppid(),), daemon=True).start()
    if then is not None:
        then(worker_id)


def _end_with_owner(owner: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != owner:
        pass
    os._exit(0)


@HOOKS.register_module()
class StopSignalHook(Hook):
    """After SIGTERM, SIGUSR1, SIGINT or SIGHUP: a checkpoint at the next step, then exit code 75.

    That is ``stopped.pth``, which a bare ``--resume`` goes on from, and which goes with the next
    regular checkpoint. It waits for the end of an accumulation. All processes stop at the same
    step, whichever of them was told: they exchange a flag on the host, a step late.

    Args:
        save_every: Write such a file, over the one before, every so many iterations too, in case
            the run dies without a signal.
    """

    priority = 'LOWEST'  # after CheckpointHook

    def __init__(self, save_every: Optional[int] = None) -> None:
        self.save_every = save_every or float('inf')

    def before_train(self, runner) -> None:
        """Make a group of the hosts, apart from the devices' one."""
        self.group = dist.new_group(backend='gloo') if get_world_size() > 1 else None
        self.saved = runner.iter
        self.stopping = False
        self.flag, self.exchange = torch.zeros(1), None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Stop within an epoch."""
        loop = runner.train_loop
        if not isinstance(loop, IterBasedTrainLoop) and self.is_last(runner, batch_idx):
            return
        every = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        told = self._told(runner)
        if (runner.iter + 1) % every == 0:
            self._save(runner, told, runner.epoch, runner.iter + 1)

    def is_last(self, runner, batch_idx: int) -> bool:
        """Whether the epoch ends here; what follows is done first."""
        return self.end_of_epoch(runner.train_dataloader, batch_idx)

    def after_train_epoch(self, runner) -> None:
        """Stop after an epoch."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._save(runner, self._told(runner), runner.epoch + 1, runner.iter)

    def _told(self, runner) -> bool:
        told = runner.signals.told is not None
        if self.group is None or self.stopping:
            return told or self.stopping
        if self.exchange is not None:
            self.exchange.wait()
            self.stopping = bool(self.flag.item())
        self.flag = torch.tensor([float(told)])
        self.exchange = dist.all_reduce(
            self.flag, dist.ReduceOp.MAX, group=self.group, async_op=True
        )
        return self.stopping

    def _save(self, runner, stop: bool, epoch: int, iteration: int) -> None:
        """Write the file if it is time to, or if the run is to stop here."""
        early = iteration - self.saved < self.save_every or iteration == runner.max_iters
        if early and not stop:
            return
        self.saved = iteration
        for hook in runner.hooks:
            if isinstance(hook, ExactResumeHook):
                hook.gather(runner, self.group)
        try:
            meta = dict(epoch=epoch, iter=iteration)
            runner.save_checkpoint(runner.work_dir, STOPPED, meta=meta)
        except DiskFull as error:
            if stop:
                raise
            go_on(runner, error)
            return
        path = osp.join(runner.work_dir, STOPPED)
        if is_main_process():
            write_atomically(osp.join(runner.work_dir, POINTER), path)
        if not stop:
            return
        if is_main_process():
            runner.logger.warning(
                f'{runner.signals.told or "another process was told to stop"}: stopped after '
                f'iteration {iteration}, saved {path}; --resume goes on from there. '
                f'Exit code {EXIT_CODE}.'
            )
        raise SystemExit(EXIT_CODE)
