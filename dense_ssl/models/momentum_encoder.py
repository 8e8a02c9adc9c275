"""The momentum copy of the online networks, and how it follows them."""

import copy
from collections.abc import Iterator
from math import cos, pi
from typing import Optional

import torch
from torch import nn
from torch.optim import Optimizer

from dense_ssl.errors import UserError


def cosine_momentum(base: float, end: float, step: int, total: int) -> float:
    r"""Momentum at ``step`` of ``total``, from ``base`` to ``end``.

    .. math:: m_k = m_{end} - (m_{end} - m_{base}) (\cos(\pi k / K) + 1) / 2

    With ``end=1`` this is PixPro's (arXiv 2011.10043) and MCL's schedule.
    """
    return end - (end - base) * (cos(pi * min(step, total) / total) + 1) / 2


class MomentumEncoder(nn.Module):
    r"""Exponential moving average of the online networks (MoCo, sec. 3.2).

    .. math:: \theta' \leftarrow m \theta' + (1 - m) \theta

    Once attached (:meth:`attach`) it moves after each step of the optimiser
    that trains the online networks; ``MomentumUpdateHook`` does that in a
    runner, a plain loop may as well call :meth:`update` itself. Updating
    after the step, or before the next momentum forward as the released code
    of DenseCL and PixPro does, is the same sequence, since both networks
    start equal. Parameters are averaged; buffers (batch-norm statistics) are
    the copy's own, as in the released code. Each network is an attribute of
    the same name as online.

    Args:
        online (dict[str, nn.Module]): Networks to follow. Kept by reference;
            their copies become children of this module. None stays None.
        momentum (float): Weight of the *old* value, in [0.5, 1].
        end_momentum (float, optional): Value at the last step, reached by
            cosine. None keeps ``momentum`` constant.
        first_step (int): k of the first update in the schedule: 1 where the
            method updates before the momentum forward (PixPro), 0 where it
            updates after the optimiser step (MCL).

    Raises:
        UserError: If a momentum looks like the weight of the *new* value.
        UserError: At the first update, if a schedule lacks its length
            (:meth:`set_total_steps`).
        UserError: In training, if nothing moves the copies
            (:meth:`check_followed`).
    """

    updates: torch.Tensor

    def __init__(
        self,
        online: dict[str, Optional[nn.Module]],
        momentum: float = 0.999,
        end_momentum: Optional[float] = None,
        first_step: int = 1,
    ) -> None:
        super().__init__()
        for key, value in dict(momentum=momentum, end_momentum=end_momentum).items():
            if value is not None and not 0.5 <= value <= 1:
                raise UserError(
                    f'{key}={value}: momentum is the weight of the old value '
                    'and lies in [0.5, 1], as in the papers (0.99, 0.999). '
                    'If your value is the weight of the new one '
                    f'(mmpretrain writes 0.001), use {key}={1 - value:g}.'
                )
        self.momentum = momentum
        self.end_momentum = end_momentum
        self.first_step = first_step
        self.total_steps: Optional[int] = None
        # A plain dict, so that nothing is registered twice.
        self._online = {k: v for k, v in online.items() if v is not None}
        for name, network in online.items():
            self.add_module(name, copy.deepcopy(network))
        self.requires_grad_(False)
        # Updates done: the buffer is saved, the int spares a host sync.
        self.register_buffer('updates', torch.zeros((), dtype=torch.long))
        self._updates = 0
        self.restored = False  # whether weights of the copy were loaded
        self._seen: Optional[tuple[int, int]] = None  # version, updates
        self._missed = 0  # steps of the optimiser without an update

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._seen = None
        if prefix + 'updates' in state_dict:
            self._updates = int(state_dict[prefix + 'updates'])
            self.restored = True

    @property
    def num_updates(self) -> int:
        """Updates done since the copies were equal."""
        return self._updates

    def set_total_steps(self, total_steps: int) -> None:
        """Tell the schedule K, the number of optimiser steps of the run."""
        if total_steps < 1:
            raise UserError(f'total_steps={total_steps} must be positive')
        self.total_steps = total_steps

    def current_momentum(self) -> float:
        """Momentum of the next update."""
        if self.end_momentum is None:
            return self.momentum
        if self.total_steps is None:
            raise UserError(
                'the momentum schedule does not know its length: add '
                "dict(type='MomentumUpdateHook') to custom_hooks, or call "
                'momentum_encoder.set_total_steps(n)'
            )
        return cosine_momentum(
            self.momentum, self.end_momentum, self._updates + self.first_step, self.total_steps
        )

    def _online_parameters(self) -> Iterator[nn.Parameter]:
        return (p for m in self._online.values() for p in m.parameters())

    def _own_parameters(self) -> Iterator[nn.Parameter]:
        return (p for name in self._online for p in getattr(self, name).parameters())

    def _first_trained(self) -> Optional[nn.Parameter]:
        return next((p for p in self._online_parameters() if p.requires_grad), None)

    def follows(self, optimizer: Optimizer) -> bool:
        """Whether ``optimizer`` trains the online networks."""
        first = self._first_trained()
        return first is not None and any(
            p is first for group in optimizer.param_groups for p in group['params']
        )

    def attach(self, optimizer: Optimizer) -> None:
        """Update after each step that ``optimizer`` really takes.

        Steps that gradient accumulation or loss scaling leave out are none.
        The optimiser holds the connection: copies of this module have none,
        and attaching again changes nothing.
        """
        self._seen = None
        if self._after_step not in optimizer._optimizer_step_post_hooks.values():
            optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, optimizer: Optimizer, args, kwargs) -> None:
        self.update()

    def check_followed(self) -> None:
        """Called at each loss: raise if only the online networks move.

        A step of an optimiser shows in a parameter's version, which is known
        without waiting for the device. So do weights that were loaded, hence
        two changes without an update are wanted.
        """
        first = self._first_trained()
        if not self.training or first is None:
            return
        before, self._seen = self._seen, (first._version, self._updates)
        if before is None or before[1] != self._updates:
            self._missed = 0
        elif before[0] != first._version:
            self._missed += 1
        if self._missed > 1:
            raise UserError(
                'the online networks are trained, but their momentum copy does not follow: '
                'call momentum_encoder.attach(optimizer) before training, or '
                'momentum_encoder.update() after each step of the optimizer; in a config, '
                "add dict(type='MomentumUpdateHook') to custom_hooks"
            )

    @torch.no_grad()
    def update(self) -> None:
        """Move the copies towards the online networks once."""
        torch._foreach_lerp_(
            list(self._own_parameters()),
            list(self._online_parameters()),
            1 - self.current_momentum(),
        )
        self._updates += 1
        self.updates += 1

    @torch.no_grad()
    def copy_online(self) -> None:
        """Make parameters and buffers equal to the online networks'."""
        for name, network in self._online.items():
            getattr(self, name).load_state_dict(network.state_dict())
        self.restart()

    def restart(self, updates: int = 0) -> None:
        """Begin the schedule anew, or after some updates, with the weights as they are."""
        self._updates = updates
        self.updates.fill_(updates)
        self._seen = None
