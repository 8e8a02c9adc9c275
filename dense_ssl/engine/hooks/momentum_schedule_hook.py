"""Give momentum schedules the length of the run."""
from math import ceil

from mmengine.hooks import Hook

from dense_ssl.models import MomentumEncoder
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class MomentumScheduleHook(Hook):
    """Tell momentum encoders K, the number of optimiser steps.

    K comes from this run's length and gradient accumulation, so a resumed or
    extended run goes on along its own schedule, from the step counter saved in
    the checkpoint. The current momentum goes to the log.
    """

    def before_train(self, runner) -> None:
        """Set the length; called after a checkpoint was loaded."""
        accumulation = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.encoders = [
            m for m in runner.model.modules() if isinstance(m, MomentumEncoder)
        ]
        for encoder in self.encoders:
            encoder.set_total_steps(ceil(runner.max_iters / accumulation))

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        """Log the momentum of the next update."""
        for encoder in self.encoders:
            runner.message_hub.update_scalar('train/momentum',
                                             encoder.current_momentum())
