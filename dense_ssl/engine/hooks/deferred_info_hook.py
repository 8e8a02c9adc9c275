"""Read what is logged when it is logged, not after every step."""

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook

from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """mmengine's RuntimeInfoHook without a host sync per logged value.

    The original fetches each loss after each step, so that the host waits
    for the device before it can queue the next step. Here the values stay on
    the device until the logger wants them, and come over together. The
    history is the same, value for value.
    """

    def before_train(self, runner) -> None:
        """Find out when the logger writes."""
        super().before_train(runner)
        self.pending: list[tuple[list[str], torch.Tensor]] = []
        intervals = [h.interval for h in runner.hooks if isinstance(h, LoggerHook)]
        self.interval = min(intervals, default=1)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the values; hand them on if the logger is about to write."""
        values = dict(outputs or {})
        later = [k for k, v in values.items() if isinstance(v, torch.Tensor) and v.is_cuda]
        if later:
            stacked = torch.stack([values.pop(k).detach().double().reshape(()) for k in later])
            self.pending.append((later, stacked))
        super().after_train_iter(runner, batch_idx, data_batch, values)
        if (
            self.every_n_inner_iters(batch_idx, self.interval)
            or self.every_n_train_iters(runner, self.interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self.flush(runner)

    def flush(self, runner) -> None:
        """Write the kept values into the history, oldest first."""
        if not self.pending:
            return
        names = [name for keys, _ in self.pending for name in keys]
        numbers = torch.cat([stacked for _, stacked in self.pending]).tolist()
        for name, number in zip(names, numbers):
            runner.message_hub.update_scalar(f'train/{name}', number)
        self.pending.clear()

    def after_train(self, runner) -> None:
        """Leave nothing behind."""
        self.flush(runner)
        super().after_train(runner)
