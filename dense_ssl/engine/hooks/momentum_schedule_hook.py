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
    the checkpoint. A run that only starts from a checkpoint's weights
    (``load_from``) starts its schedule at the beginning, and the copies from
    the online networks where the file had none. The current momentum goes to
    the log.

    Raises:
        ValueError: If no optimiser of the run trains the online networks.
    """

    def before_train(self, runner) -> None:
        """Set the length; called after a checkpoint was loaded."""
        accumulation = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.encoders = [
            m for m in runner.model.modules() if isinstance(m, MomentumEncoder)
        ]
        optimizers = self._optimizers(runner.optim_wrapper)
        for encoder in self.encoders:
            if not any(map(encoder.follows, optimizers)):
                raise ValueError(
                    'no optimiser trains the first parameter of the online '
                    'networks, so their momentum copy would never move: '
                    'give all trainable parameters to one optimiser')
            encoder.set_total_steps(ceil(runner.max_iters / accumulation))
            if runner.iter == 0:
                encoder.restart() if encoder.restored else (
                    encoder.copy_online())

    @staticmethod
    def _optimizers(wrapper) -> list:
        if hasattr(wrapper, 'optimizer'):
            return [wrapper.optimizer]
        return [w.optimizer for w in wrapper.values()]  # OptimWrapperDict

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        """Log the momentum of the next update."""
        for encoder in self.encoders:
            runner.message_hub.update_scalar('train/momentum',
                                             encoder.current_momentum())
