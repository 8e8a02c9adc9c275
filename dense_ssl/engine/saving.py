"""Writing checkpoints so that the one before stays until the new one is there as a whole."""

import errno
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from dense_ssl.errors import UserError
from dense_ssl.files import write_atomically

from .work_folder import STOPPED

__all__ = ['BACKEND', 'DiskFull', 'go_on', 'keep_until_saved']

#: Of mmengine's file backends, by which the runner writes into local folders.
BACKEND = 'dense_ssl.AtomicBackend'


class DiskFull(UserError):
    """There is no space for a checkpoint."""


class AtomicBackend(LocalBackend):
    """The local file system; a file is there as a whole or not at all."""

    def put(self, obj: bytes, filepath) -> None:
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_atomically(path, bytes(obj))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise DiskFull(
                f'no space for the checkpoint {path}, which needs {len(obj) / 2**20:.1f} MiB '
                f'({error.strerror}). Nothing of it was left and earlier checkpoints are as they '
                'were. Make room, or keep fewer (default_hooks.checkpoint.max_keep_ckpts), then '
                "--resume. With --cfg-options '+disk_full=go on' a run trains on to its next save."
            ) from error


register_backend(BACKEND, AtomicBackend)


def go_on(runner, error: DiskFull) -> None:
    """Say that a checkpoint was not written, or raise, as the config has it."""
    if runner.cfg.get('disk_full', 'stop') != 'go on':
        raise error
    runner.logger.error(f'{error} Training goes on without it.')


class _Later:
    """A file backend that removes nothing until it is told to."""

    def __init__(self, backend) -> None:
        self.backend = backend
        self.unwanted: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self.backend, name)

    def remove(self, path) -> None:
        self.unwanted.append(str(path))

    rmtree = remove

    def carry_out(self, keep: set) -> None:
        for path in set(self.unwanted) - keep:
            if self.backend.isdir(path):
                self.backend.rmtree(path)
            elif self.backend.isfile(path):
                self.backend.remove(path)
        self.unwanted = []


class _KeepUntilSaved(CheckpointHook):
    """New file, then the pointer, then the old files' end; mmengine has it the other way round."""

    file_backend: _Later

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if not isinstance(self.file_backend, _Later):
            self.file_backend = _Later(self.file_backend)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        last = getattr(self, 'last_ckpt', None)
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except DiskFull as error:
            self.last_ckpt = last
            go_on(runner, error)
            return
        if is_main_process():
            self.file_backend.carry_out(self._wanted())
            Path(runner.work_dir, STOPPED).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        try:
            super()._save_best_checkpoint(runner, metrics)
        except DiskFull as error:
            go_on(runner, error)
        else:
            self.file_backend.carry_out(self._wanted())

    def _wanted(self) -> set:
        best = [getattr(self, 'best_ckpt_path', None)]
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        return {str(path) for path in [self.last_ckpt, *best] if path}


def keep_until_saved(hook: CheckpointHook) -> None:
    """Let a hook, of whatever kind of CheckpointHook, remove files only after it has saved."""
    if not isinstance(hook, _KeepUntilSaved):
        kind = type(hook)
        hook.__class__ = type(kind.__name__, (_KeepUntilSaved, kind), {})
