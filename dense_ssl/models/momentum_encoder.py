"""The momentum copy of the online networks, and how it follows them."""

import copy
import weakref
from math import cos, pi
from typing import Optional

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from dense_ssl.errors import UserError

_followers: 'weakref.WeakSet[MomentumEncoder]' = weakref.WeakSet()


def _after_optimizer_step(optimizer, args, kwargs) -> None:
    for encoder in list(_followers):
        if encoder.follows(optimizer):
            encoder.update()


# One hook for every optimiser of the process: the copy then moves once per
# real optimiser step, whatever loop, wrapper, gradient accumulation or loss
# scaling drives it, and no config can forget it.
register_optimizer_step_post_hook(_after_optimizer_step)


def cosine_momentum(base: float, end: float, step: int, total: int) -> float:
    r"""Momentum at ``step`` of ``total``, from ``base`` to ``end``.

    .. math:: m_k = m_{end} - (m_{end} - m_{base}) (\cos(\pi k / K) + 1) / 2

    With ``end=1`` this is PixPro's (arXiv 2011.10043) and MCL's schedule.
    """
    return end - (end - base) * (cos(pi * min(step, total) / total) + 1) / 2


class MomentumEncoder(nn.Module):
    r"""Exponential moving average of the online networks (MoCo, sec. 3.2).

    .. math:: \theta' \leftarrow m \theta' + (1 - m) \theta

    The update runs by itself after each step of the optimiser that trains the
    online networks. Updating after the step, or before the next momentum
    forward as the released code of DenseCL and PixPro does, is the same
    sequence, since both networks start equal. Parameters are averaged;
    buffers (batch-norm statistics) are the copy's own, as in the released
    code. Each network is an attribute of the same name as online.

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
    """

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
        _followers.add(self)

    def __setstate__(self, state: dict) -> None:  # deepcopy and pickle
        super().__setstate__(state)
        _followers.add(self)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
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
                "dict(type='MomentumScheduleHook') to custom_hooks, or call "
                'momentum_encoder.set_total_steps(n)'
            )
        return cosine_momentum(
            self.momentum, self.end_momentum, self._updates + self.first_step, self.total_steps
        )

    def _online_parameters(self) -> list[nn.Parameter]:
        return [p for m in self._online.values() for p in m.parameters()]

    def _own_parameters(self) -> list[nn.Parameter]:
        return [p for name in self._online for p in getattr(self, name).parameters()]

    def follows(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether ``optimizer`` trains the online networks."""
        first = next((p for p in self._online_parameters() if p.requires_grad), None)
        return first is not None and any(
            p is first for group in optimizer.param_groups for p in group['params']
        )

    @torch.no_grad()
    def update(self) -> None:
        """Move the copies towards the online networks once."""
        torch._foreach_lerp_(
            self._own_parameters(), self._online_parameters(), 1 - self.current_momentum()
        )
        self._updates += 1
        self.updates += 1

    @torch.no_grad()
    def copy_online(self) -> None:
        """Make parameters and buffers equal to the online networks'."""
        for name, network in self._online.items():
            getattr(self, name).load_state_dict(network.state_dict())
        self.restart()

    def restart(self) -> None:
        """Begin the schedule anew, with the weights as they are."""
        self._updates = 0
        self.updates.zero_()
