"""A run that goes on with another number of images or processes a step."""

from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop

from dense_ssl.models import MomentumEncoder
from dense_ssl.modules import bare

from .hooks.exact_resume_hook import follow_config

__all__ = ['follow_epochs', 'step_of']


def step_of(runner) -> dict:
    """What a step of the run is, for its checkpoints."""
    loader = runner.train_dataloader
    batch_sampler = getattr(loader, 'batch_sampler', None)
    images = getattr(loader, 'batch_size', None) or getattr(batch_sampler, 'batch_size', 0)
    return dict(
        images=images,
        processes=get_world_size(),
        accumulated=getattr(runner.optim_wrapper, '_accumulative_counts', 1),
        an_epoch=len(loader) if hasattr(loader.dataset, '__len__') else 0,
    )


def follow_epochs(runner, filename: str, meta: dict) -> None:
    """Count the iterations of a resumed run in its own steps; learning rate and momentum follow.

    A run that counts epochs stands at the same epoch as before. One that counts iterations goes
    on at the same iteration, for its length is given in these; the log says what changed.

    Args:
        runner: It has resumed.
        filename: The checkpoint.
        meta: What it says of itself. Those of version 0.1 say nothing of steps: of whole epochs it
            follows how many there were.
    """
    now, old = step_of(runner), dict(meta.get('step') or {})
    by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
    iteration, epoch = meta['iter'], meta['epoch']
    if not old and by_epoch and epoch and iteration % epoch == 0 and 'epoch_' in filename:
        old = dict(an_epoch=iteration // epoch)
    changed = {key: value for key, value in old.items() if value != now[key]}
    if not changed or not (old.get('an_epoch') and now['an_epoch']):
        return
    said = ', '.join(f'{_WORDS[key]}: {old[key]} before, {now[key]} now' for key in changed)
    if not by_epoch:
        runner.logger.warning(
            f'{said}. This run counts iterations: it goes on at {iteration} of '
            f'{runner.max_iters}, and its schedules count the new steps from there.'
        )
        return
    runner.train_loop._iter = round(iteration / old['an_epoch'] * now['an_epoch'])
    for encoder in bare(runner.model).modules():
        if isinstance(encoder, MomentumEncoder):
            encoder.restart(runner.iter // now['accumulated'])
    if isinstance(runner.optim_wrapper, OptimWrapper) and isinstance(runner.param_schedulers, list):
        follow_config(runner)
    runner.logger.warning(
        f'{said}. Schedules follow the progress in epochs: {iteration} iterations count as '
        f'{runner.iter} from here on. The learning rate is not scaled.'
    )


_WORDS = dict(
    images='images a process and step',
    processes='processes',
    accumulated='iterations an optimiser step',
    an_epoch='iterations an epoch',
)
