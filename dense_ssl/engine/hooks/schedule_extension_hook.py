"""A learning rate that follows a run which was made longer."""

from mmengine.hooks import Hook

from dense_ssl.registry import HOOKS

# Where a scheduler stands; all its other fields say what it does.
_STATE = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}


@HOOKS.register_module()
class ScheduleExtensionHook(Hook):
    """Resume along the config's schedule where the checkpoint has another.

    mmengine restores schedulers whole, their old length included: the rest of
    a run that is resumed with more epochs would stand at the old schedule's
    last learning rate. Where the schedules differ, this hook steps the
    config's from the start to the resumed iteration. Else nothing is touched.
    """

    def before_run(self, runner) -> None:
        """Remember the config's schedule: a checkpoint overwrites it."""
        self.wanted = _settings(runner.param_schedulers)

    def before_train(self, runner) -> None:
        """Compare; called after a checkpoint was loaded."""
        if not runner.iter or _settings(runner.param_schedulers) == self.wanted:
            return
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
            'the checkpoint was made with another learning-rate schedule; '
            f"from iteration {runner.iter} on the config's is followed "
            f'(lr {wrapper.param_groups[0]["lr"]:.3e})'
        )


def _settings(schedulers) -> list:
    """What each scheduler does; nothing for several optimisers' ones."""
    if not isinstance(schedulers, list):
        return []
    return [{k: v for k, v in s.state_dict().items() if k not in _STATE} for s in schedulers]
