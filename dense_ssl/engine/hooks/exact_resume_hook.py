"""A resumed run makes the very steps of an uninterrupted one."""

import random
from typing import Any, Optional

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from dense_ssl.errors import UserError
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

# Where a scheduler stands; all its other fields say what it does.
_STATE = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}


@HOOKS.register_module(name=['ExactResumeHook', 'EpochSeedHook'])
class ExactResumeHook(Hook):
    """Random numbers, gradients and schedules that do not depend on a stop.

    - The process is seeded from (seed, epoch, rank) before every epoch, and
      the loader draws its workers' seeds from the process's generator: epochs
      differ, ranks differ, and a run resumed at an epoch sees the numbers of
      an uninterrupted one. Needs ``persistent_workers=False``: workers that
      live on keep a state that no checkpoint holds.
    - A checkpoint from within an epoch takes the generators' states along (of one
      process; of several where StopSignalHook wrote it): the epoch goes on there, after its first
      images were read again.
    - With gradient accumulation an epoch may end between two optimiser steps.
      What has been accumulated by then is saved and resumed.
    - mmengine restores schedulers whole, their old length included. Where the
      config's schedule differs from the checkpoint's (a run made longer), the
      config's is followed from the resumed iteration on. Else nothing is
      touched.

    Args:
        exact (bool): False lets workers persist: a resumed run then draws
            other views than an uninterrupted one. Defaults to True.
    """

    priority = 'VERY_HIGH'  # before CheckpointHook saves
    key = 'pending_gradients'
    states_key = 'random_states'

    def __init__(self, exact: bool = True) -> None:
        self.exact = exact

    def before_run(self, runner) -> None:
        """Remember the config's schedule: a checkpoint overwrites it."""
        self.wanted = _settings(runner.param_schedulers)
        self.pending: dict[str, torch.Tensor] = {}
        self.loaded: dict[str, torch.Tensor] = {}
        self.loaded_states: Optional[list] = None
        self.states: Optional[list] = None  # to be saved, of all processes
        self.go_on: Optional[dict] = None  # within an epoch, and how

    def before_train(self, runner) -> None:
        """Called after a checkpoint was loaded."""
        self._seed_sampler(runner)
        if runner.iter:
            self._resume_gradients(runner)
            if _settings(runner.param_schedulers) != self.wanted:
                follow_config(runner)
        self.loaded = {}

    def _seed_sampler(self, runner) -> None:
        if runner.train_dataloader.persistent_workers:
            text = (
                'train_dataloader.persistent_workers=True makes a resumed run '
                'differ from an uninterrupted one'
            )
            if self.exact:
                raise UserError(
                    f"{text}: set it to False, or write dict(type='ExactResumeHook', "
                    'exact=False) in custom_hooks'
                )
            runner.logger.warning(text)
        # A sampler that drew its own seed draws another one after a resume;
        # the run's seed is in the checkpoint, without the rank added to it.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            diff = runner._randomness_cfg.get('diff_rank_seed', False)
            sampler.seed = runner.seed - (get_rank() if diff else 0)
        amid = runner.iter - runner.epoch * len(runner.train_dataloader)
        if not amid or isinstance(runner.train_loop, IterBasedTrainLoop):
            return
        saved = f'the checkpoint was saved {amid} iterations into epoch {runner.epoch + 1}'
        states = self.loaded_states if self.exact else None
        if states and states[0]['step'] == _step(runner) and len(states) == get_world_size():
            self.go_on = dict(amid=amid, state=states[get_rank()])
            runner.logger.warning(f'{saved}: their images are read again, then the run goes on')
            return
        runner.logger.warning(
            f'{saved}, which is trained again from its start: '
            'the run gets that much longer than its schedules. '
            'Checkpoints of whole epochs (default_hooks.checkpoint.'
            'by_epoch=True) resume exactly'
        )

    def before_train_epoch(self, runner) -> None:
        """Seed python, numpy and torch."""
        state = np.random.SeedSequence([runner.seed, runner.epoch, get_rank()]).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(state[1])
        torch.manual_seed(int(state[2]))
        if self.go_on:
            loop = runner.train_loop
            loop.dataloader = _Rest(loop.dataloader, **self.go_on)
            self.go_on = None

    def after_train_epoch(self, runner) -> None:
        """Collect waiting gradients, averaged over the processes as a step would."""
        loop = runner.train_loop
        loop.dataloader = getattr(loop.dataloader, 'whole', loop.dataloader)
        every = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.pending = {}
        if runner.iter % every == 0 or runner.iter == runner.max_iters:
            return
        for name, p in bare(runner.model).named_parameters():
            if p.grad is not None:
                self.pending[name] = p.grad.detach().clone()
                all_reduce(self.pending[name], 'mean')

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        """Forget the collected gradients: they change from here on."""
        self.pending = {}

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put waiting gradients into the checkpoint."""
        if self.pending:
            checkpoint[self.key] = {k: v.cpu() for k, v in self.pending.items()}
        if self.states is None and get_world_size() == 1:
            self.gather(runner)
        checkpoint[self.states_key], self.states = self.states, None

    def gather(self, runner, group=None) -> None:
        """Collect every process's random state; the next checkpoint takes it along."""
        self.states = [_random_state(runner)] * get_world_size()
        if group is not None:
            dist.all_gather_object(self.states, self.states[0], group)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep those of the checkpoint."""
        self.loaded = checkpoint.get(self.key) or {}
        self.loaded_states = checkpoint.get(self.states_key)

    def _resume_gradients(self, runner) -> None:
        parameters = dict(bare(runner.model).named_parameters())
        for name, gradient in self.loaded.items():
            p = parameters[name]
            p.grad = gradient.to(p.device, p.dtype)
        if self.loaded:
            runner.logger.info('the gradients accumulated so far are resumed too')


class _Rest:
    """A loader whose first batches are passed over, with the draws of whoever took them."""

    def __init__(self, whole, amid: int, state: dict) -> None:
        self.whole, self.amid, self.state = whole, amid, state

    def __getattr__(self, name: str):
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return len(self.whole) - self.amid

    def __iter__(self):
        batches = iter(self.whole)
        for _ in range(self.amid):
            next(batches)  # read, so that the workers' draws are as they were
        _restore(self.state)
        yield from batches


def _step(runner) -> list[int]:
    loader = getattr(runner.train_dataloader, 'whole', runner.train_dataloader)
    return [len(loader), getattr(loader, 'batch_size', None) or 0, loader.num_workers]


def _random_state(runner) -> dict:
    """Of this process's generators, as a checkpoint may hold it."""
    version, numbers, gauss = random.getstate()
    of_numpy: Any = np.random.get_state()
    _, keys, position, has_gauss, cached = of_numpy
    return dict(
        step=_step(runner),
        python=[version, list(numbers), gauss],
        numpy=[torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    )


def _restore(state: dict) -> None:
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    keys, *rest = state['numpy']
    np.random.set_state(('MT19937', keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


def follow_config(runner) -> None:
    """Step the config's schedule from the start to where the run stands."""
    wrapper = runner.optim_wrapper
    names = {s.param_name for s in runner.param_schedulers}
    for group in wrapper.param_groups:
        group.update({n: group[f'initial_{n}'] for n in names})
    runner.param_schedulers = runner.build_param_scheduler(runner.cfg.param_scheduler)
    wrapper._global_step = 0  # else the first step warns of its order
    for by_epoch, steps in ((False, runner.iter), (True, runner.epoch)):
        chosen = [s for s in runner.param_schedulers if s.by_epoch == by_epoch]
        for _ in range(steps):
            for scheduler in chosen:
                scheduler.step()
    runner.logger.warning(
        'the checkpoint was made with another learning-rate schedule, or other steps; '
        f"from iteration {runner.iter} on the config's is followed "
        f'(lr {wrapper.param_groups[0]["lr"]:.3e})'
    )


def _settings(schedulers) -> list:
    """What each scheduler does; nothing for several optimisers' ones."""
    if not isinstance(schedulers, list):
        return []
    return [{k: v for k, v in s.state_dict().items() if k not in _STATE} for s in schedulers]
