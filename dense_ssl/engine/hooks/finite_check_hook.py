"""Numbers that are not finite end a run before they reach a checkpoint."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook, LoggerHook
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.files import write_atomically
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

from ..work_folder import checkpoints_in, readable

__all__ = ['FiniteCheckHook']

#: Iteration and epoch, from 0, and the files of its batch.
Step = tuple[int, int, list[str]]


@HOOKS.register_module()
class FiniteCheckHook(Hook):
    """Check the losses when the log is written, and the weights before they are saved.

    No step waits for the device. Where a number is not finite the run ends with a UserError,
    before anything is saved or deleted: it names the iteration, its files, the first module and
    the last good checkpoint. A dump has the weights, and the batch where it was the last one.

    Args:
        policy: 'stop' (default), or 'skip N': an optimiser step whose gradients are not finite is
            left out, and running statistics and queues stay as they were, up to N times a run.
            This alone makes every step wait for the device.

    Raises:
        UserError: Another policy.
    """

    priority = 'VERY_HIGH'  # before CheckpointHook

    def __init__(self, policy: str = 'stop') -> None:
        skip = re.fullmatch(r'skip (\d+)', str(policy))
        if policy != 'stop' and not skip:
            raise UserError(f"non_finite='{policy}': use 'stop' or 'skip N', e.g. 'skip 3'")
        self.left = int(skip.group(1)) if skip else 0
        self.skips = bool(skip)

    def before_train(self, runner) -> None:
        """Find out when the logger writes, and what was not finite by intention."""
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self.interval = min(intervals, default=10)
        self.steps: list[Step] = []
        self.losses: list[Tensor] = []
        self.batch: Any = None
        self.last: Step = (runner.iter, runner.epoch, [])
        self.shrunk = False
        self.known = set(_not_finite(bare(runner.model).named_buffers()))
        if self.skips:
            self._guard(runner.optim_wrapper)

    def _guard(self, wrapper) -> None:
        """Leave out steps whose gradients are not finite; all processes have the same."""
        for each in [wrapper] if isinstance(wrapper, OptimWrapper) else wrapper.values():
            each.step = partial(self._step, each, each.step)
            each.step._with_counter = True  # schedulers ask for it; the step inside counts

    def _step(self, wrapper, step, *args, **kwargs) -> None:
        groups = wrapper.optimizer.param_groups
        grads = [p.grad for g in groups for p in g['params'] if p.grad is not None]
        self.bad = bool(_not_finite(enumerate(grads)))
        scaled = hasattr(wrapper, 'loss_scaler') and wrapper.loss_scaler.is_enabled()
        if scaled or not self.bad:  # a scaler leaves out such steps itself
            step(*args, **kwargs)
        self.bad = self.bad and not scaled

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Keep what a bad step would spoil."""
        self.bad = False
        if self.skips:
            self.kept = {n: b.clone() for n, b in bare(runner.model).named_buffers()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the losses on the device; look at them when the log is written."""
        outputs = outputs or {}
        names = ['loss'] if 'loss' in outputs else [n for n in outputs if 'loss' in n]
        values = [torch.as_tensor(outputs[n]).detach().double().sum() for n in names]
        loss = torch.stack([v.to(values[-1].device) for v in values]).sum() if values else None
        self.last = (runner.iter, runner.epoch, _files(data_batch))
        if self.skips and self._skipped(runner, loss, data_batch):
            return
        if loss is not None:
            self.losses.append(loss)
            self.steps.append(self.last)
            self.batch = data_batch
        if (
            self.every_n_inner_iters(batch_idx, self.interval)
            or self.every_n_train_iters(runner, self.interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self._check_losses(runner)
            self._check_scaler(runner)

    def _skipped(self, runner, loss: Optional[Tensor], data_batch) -> bool:
        bad = torch.tensor(float(self.bad or (loss is not None and not loss.isfinite())))
        all_reduce(bad, 'max')
        if not bad:
            return False
        if not self.left:
            self._stop(runner, 'loss or gradients are not finite', self.last, data_batch)
        self.left -= 1
        for name, buffer in bare(runner.model).named_buffers():
            buffer.copy_(self.kept[name])
        runner.logger.warning(
            f'iteration {runner.iter + 1} was not finite and is left out ({self.left} more may '
            f'be). Its files: {", ".join(self.last[2])}'
        )
        return True

    def _check_losses(self, runner) -> None:
        losses, steps, batch = self.losses, self.steps, self.batch
        self.losses, self.steps, self.batch = [], [], None
        if not losses:
            return
        numbers = torch.stack(losses)
        finite = numbers.isfinite().tolist()  # one transfer for all
        if not all(finite):
            at = finite.index(False)
            last = at == len(finite) - 1
            self._stop(
                runner, f'the loss is {numbers[at].item()}', steps[at], batch if last else None
            )

    def _check_scaler(self, runner) -> None:
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled() or self.shrunk:
            return
        self.shrunk = scaler.get_scale() < 1
        if self.shrunk:
            runner.logger.warning(
                f'the scale of float16 gradients has shrunk to {scaler.get_scale():.2g}: steps are '
                'left out again and again, and nothing is learned. Use --amp bfloat16, or a '
                'smaller learning rate.'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Called before a file is written or an older one removed."""
        self._check_losses(runner)
        bad = [n for n in _not_finite(checkpoint['state_dict'].items()) if n not in self.known]
        if bad:
            self._stop(runner, 'weights are not finite', self.last, None)

    def _stop(self, runner, what: str, step: Step, batch) -> None:
        iteration, epoch, files = step
        model = bare(runner.model)
        bad = [n for n in _not_finite(_tensors(model)) if n not in self.known]
        if bad:
            where = f'{bad[0].rpartition(".")[0] or bad[0]} is the first module with such weights'
        else:
            where = 'all weights are finite: look at the images'
        good = next((str(p) for p in checkpoints_in(runner.work_dir) if readable(p)), None)
        path = Path(runner.work_dir) / f'not_finite_iter_{iteration + 1}_rank_{get_rank()}.pth'
        content = dict(
            iteration=iteration + 1,
            reason=what,
            modules=list(dict.fromkeys(n.rpartition('.')[0] for n in bad)),
            files=files,
            batch=batch,
            last_checkpoint=good,
            state_dict=model.state_dict(),
            meta=dict(cfg=runner.cfg.pretty_text, seed=runner.seed, iter=runner.iter),
        )
        write_atomically(path, lambda file: torch.save(content, file))
        raise UserError(
            f'{what} at iteration {iteration + 1} (epoch {epoch + 1}); {where}. Files of the '
            f'batch: {", ".join(files) or "not known"}. Nothing was saved or deleted. The last '
            f'good checkpoint: {good or "none yet"}; --resume repeats the steps since then. '
            f'Weights{" and batch" if batch is not None else ""} are in {path}. Mend the images, '
            'lower optim_wrapper.optimizer.lr, set optim_wrapper.clip_grad, or leave out single '
            "bad steps: --cfg-options '+non_finite=skip 3'."
        )


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers, module by module."""
    for name, part in module.named_modules():
        own = [*part.named_parameters(name, False), *part.named_buffers(name, False)]
        yield from own


def _not_finite(named: Iterable[tuple[Any, Tensor]]) -> list:
    """Names of those with a number that is not finite; one transfer for each device."""
    flags: dict[torch.device, list] = {}
    order = []
    for name, tensor in named:
        if tensor.is_floating_point() and tensor.numel():
            order.append(name)
            flags.setdefault(tensor.device, []).append((name, tensor.detach().isfinite().all()))
    finite: dict = {}
    for pairs in flags.values():
        names, found = zip(*pairs)
        finite.update(zip(names, torch.stack(found).tolist()))
    return [name for name in order if not finite[name]]


def _files(data_batch) -> list[str]:
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not isinstance(samples, (list, tuple)):
        return []
    paths = [getattr(sample, 'img_path', None) for sample in samples]
    return [str(p) for path in paths for p in (path if isinstance(path, list) else [path]) if p]
