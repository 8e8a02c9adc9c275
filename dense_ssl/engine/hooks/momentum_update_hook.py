"""Let momentum copies follow the run's optimiser."""

from math import ceil

from mmengine.hooks import Hook

from dense_ssl.errors import UserError
from dense_ssl.models import MomentumEncoder
from dense_ssl.registry import HOOKS


@HOOKS.register_module(name=['MomentumUpdateHook', 'MomentumScheduleHook'])  # the old name
class MomentumUpdateHook(Hook):
    """Attach momentum encoders to the optimiser of their online networks.

    Each moves after every step of it, and is told K, the number of steps. K
    comes from this run's length and gradient accumulation, so a resumed or
    extended run goes on along its own schedule, from the step counter saved in
    the checkpoint. A run that only starts from a checkpoint's weights
    (``load_from``) starts its schedule at the beginning, and the copies from
    the online networks where the file had none. The current momentum goes to
    the log.

    Raises:
        UserError: If no optimiser of the run trains the online networks.
    """

    def before_train(self, runner) -> None:
        """Attach and set the length; called after a checkpoint was loaded."""
        self.encoders = [m for m in runner.model.modules() if isinstance(m, MomentumEncoder)]
        for encoder in self.encoders:
            wrapper = self._wrapper(runner.optim_wrapper, encoder)
            encoder.attach(wrapper.optimizer)
            every = getattr(wrapper, '_accumulative_counts', 1)
            steps = ceil(runner.max_iters / every)
            if runner.iter == 0:
                encoder.restart() if encoder.restored else (encoder.copy_online())
            else:
                # An extended run, which had ended amid an accumulation: that
                # was a step more.
                steps += max(0, int(encoder.num_updates) - runner.iter // every)
            encoder.set_total_steps(steps)

    @staticmethod
    def _wrapper(wrapper, encoder: MomentumEncoder):
        """The one whose optimiser trains the online networks."""
        wrappers = (
            [wrapper] if hasattr(wrapper, 'optimizer') else list(wrapper.values())
        )  # OptimWrapperDict
        for each in wrappers:
            if encoder.follows(each.optimizer):
                return each
        raise UserError(
            'no optimiser trains the first parameter of the online networks, '
            'so their momentum copy would never move: give all trainable '
            'parameters to one optimiser'
        )

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        """Log the momentum of the next update."""
        for encoder in self.encoders:
            runner.message_hub.update_scalar('train/momentum', encoder.current_momentum())
