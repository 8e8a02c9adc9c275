"""Give momentum schedules the length of the run."""

from math import ceil

from mmengine.hooks import Hook

from dense_ssl.errors import UserError
from dense_ssl.models import MomentumEncoder
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class MomentumScheduleHook(Hook):
    """Tell momentum encoders K, the number of optimiser steps.

    K comes from this run's length and gradient accumulation, so a resumed or
    extended run goes on along its own schedule, from the step counter saved in
    the checkpoint. A run that only starts from a checkpoint's weights
    (``load_from``) starts its schedule at the beginning, and the copies from
    the online networks where the file had none. The current momentum goes to
    the log.

    Raises:
        UserError: If no optimiser of the run trains the online networks.
    """

    def before_train(self, runner) -> None:
        """Set the length; called after a checkpoint was loaded."""
        self.encoders = [m for m in runner.model.modules() if isinstance(m, MomentumEncoder)]
        for encoder in self.encoders:
            every = self._accumulation(runner.optim_wrapper, encoder)
            steps = ceil(runner.max_iters / every)
            if runner.iter == 0:
                encoder.restart() if encoder.restored else (encoder.copy_online())
            else:
                # An extended run, which had ended amid an accumulation: that
                # was a step more.
                steps += max(0, int(encoder.num_updates) - runner.iter // every)
            encoder.set_total_steps(steps)

    @staticmethod
    def _accumulation(wrapper, encoder: MomentumEncoder) -> int:
        """Iterations for a step of the optimiser that trains the networks."""
        wrappers = (
            [wrapper] if hasattr(wrapper, 'optimizer') else list(wrapper.values())
        )  # OptimWrapperDict
        for each in wrappers:
            if encoder.follows(each.optimizer):
                return getattr(each, '_accumulative_counts', 1)
        raise UserError(
            'no optimiser trains the first parameter of the online networks, '
            'so their momentum copy would never move: give all trainable '
            'parameters to one optimiser'
        )

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        """Log the momentum of the next update."""
        for encoder in self.encoders:
            runner.message_hub.update_scalar('train/momentum', encoder.current_momentum())
