"""Layer-wise adaptive rate scaling, as the released codes have it."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Callable, NamedTuple, Optional

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from dense_ssl.errors import UserError
from dense_ssl.registry import OPTIMIZERS


class _Variant(NamedTuple):
    """Where released implementations of LARS differ.

    Attributes:
        decay_in_norm: The trust ratio is taken of ``g + wd w`` rather than
            with ``|g| + wd |w|`` below the line.
        lr_in_buffer: The momentum buffer holds steps that include their
            learning rate, so that a change of it acts late.
        guarded: A tensor whose weight or gradient is all zero has ratio 1.
            Otherwise all-zero weights have ratio 0 and never move.
    """

    decay_in_norm: bool
    lr_in_buffer: bool
    guarded: bool


_VARIANTS = dict(
    pixpro=_Variant(decay_in_norm=True, lr_in_buffer=False, guarded=True),
    mmpretrain=_Variant(decay_in_norm=False, lr_in_buffer=True, guarded=True),
    mcl=_Variant(decay_in_norm=False, lr_in_buffer=True, guarded=False),
)


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    r"""SGD whose step is scaled for each tensor (arXiv 1708.03888).

    With gradient g, weight w, weight decay wd and momentum m:

    ``variant='pixpro'`` (weight decay is folded in before the norm)

    .. math:: d = g + wd\,w, \quad
              b \leftarrow m b + \eta \frac{|w|}{|d| + \epsilon} d, \quad
              w \leftarrow w - lr\,b

    ``variant='mmpretrain'`` and ``variant='mcl'``

    .. math:: b \leftarrow m b + lr\,\eta
              \frac{|w|}{|g| + wd\,|w| + \epsilon} (g + wd\,w), \quad
              w \leftarrow w - b

    The ratio is 1 where \|w\| or the gradient's norm is zero; ``'mcl'`` has
    no such guard and no epsilon: weights of zero never move.

    Nothing waits for the device, and tensors are handled in groups (foreach)
    even where ``paramwise_cfg`` makes a parameter group of each. On a CPU they
    are handled one by one, which leaves each in the cache from the first
    operation to the last.

    Args:
        params (Iterable): Parameters or parameter groups. A group with
            ``lars_exclude=True`` has ratio 1.
        lr (float): Learning rate.
        momentum (float): m. Defaults to 0.9.
        weight_decay (float): wd. Defaults to 0.
        eta (float): Trust coefficient. Defaults to 0.001.
        eps (float): Against division by zero. Defaults to 1e-8.
        variant (str): 'pixpro' (default), 'mmpretrain' or 'mcl'.
        exclude_1d (bool): Biases and norms (tensors of one dimension) get
            neither weight decay nor ratio. Defaults to True.
        foreach (bool, optional): Tensors in groups, or one by one; by default
            in groups, except on a CPU.

    Raises:
        UserError: If a value is out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        eps: float = 1e-8,
        variant: str = 'pixpro',
        exclude_1d: bool = True,
        foreach: Optional[bool] = None,
    ) -> None:
        if variant not in _VARIANTS:
            raise UserError(f"variant='{variant}': use one of {', '.join(_VARIANTS)}")
        for key, value in dict(
            lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta, eps=eps
        ).items():
            if value < 0:
                raise UserError(f'{key}={value} must not be negative')
        if momentum >= 1 or not eta:
            raise UserError(f'momentum={momentum} must be below 1, and eta={eta} above 0')
        super().__init__(
            params,
            dict(
                lr=lr,
                momentum=momentum,
                weight_decay=weight_decay,
                eta=eta,
                eps=eps,
                lars_exclude=False,
            ),
        )
        self.variant = variant
        self.exclude_1d = exclude_1d
        self.foreach = foreach

    def _alike(self) -> dict[tuple, list[Tensor]]:
        """Parameters with a gradient, by what their step depends on."""
        alike = defaultdict(list)
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is None:
                    continue
                plain = self.exclude_1d and p.dim() <= 1
                adapted = not (plain or group['lars_exclude'])
                decay = 0.0 if plain else group['weight_decay']
                key = (
                    group['lr'],
                    group['momentum'],
                    decay,
                    group['eta'],
                    group['eps'],
                    adapted,
                    p.device,
                    p.dtype,
                )
                alike[key].append(p)
        return alike

    @torch.no_grad()
    def step(self, closure: Optional[Callable] = None) -> Optional[float]:  # type: ignore[override]
        """Take one step.

        Args:
            closure (callable, optional): Evaluates the model again and
                returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for key, params in self._alike().items():
            grouped = self.foreach
            if grouped is None:
                grouped = params[0].device.type != 'cpu'
            if grouped:
                self._step_together(params, *key[:6])
            else:
                for p in params:
                    self._step_alone(p, *key[:6])
        return loss

    def _buffer(self, p: Tensor) -> Tensor:
        """The parameter's momentum buffer."""
        state = self.state[p]
        if 'momentum_buffer' not in state:
            state['momentum_buffer'] = torch.zeros_like(p)
        return state['momentum_buffer']

    def _step_alone(
        self,
        p: Tensor,
        lr: float,
        momentum: float,
        decay: float,
        eta: float,
        eps: float,
        adapted: bool,
    ) -> None:
        """A step of one tensor; reads its norms on the host."""
        variant, gradient = _VARIANTS[self.variant], p.grad
        assert gradient is not None  # see _alike
        late = variant.lr_in_buffer
        step = gradient.add(p, alpha=decay) if decay else gradient
        scale = lr if late else 1.0
        if adapted:
            weight = torch.linalg.vector_norm(p).item()
            below = grad = torch.linalg.vector_norm(
                step if variant.decay_in_norm else gradient
            ).item()
            if not variant.decay_in_norm:
                below += decay * weight
            if not variant.guarded:
                scale *= eta * weight / below if below else 0.0
            elif weight and grad:
                scale *= eta * weight / (below + eps)
        rate = 1.0 if late else lr
        if momentum:
            buffer = self._buffer(p).mul_(momentum).add_(step, alpha=scale)
            p.add_(buffer, alpha=-rate)
        else:
            p.add_(step, alpha=-rate * scale)

    def _step_together(
        self,
        params: list[Tensor],
        lr: float,
        momentum: float,
        decay: float,
        eta: float,
        eps: float,
        adapted: bool,
    ) -> None:
        """A step of tensors on one device, without waiting for it."""
        variant = _VARIANTS[self.variant]
        grads = [p.grad for p in params if p.grad is not None]  # all of them, see _alike
        steps = list(torch._foreach_add(grads, params, alpha=decay)) if decay else grads
        late = variant.lr_in_buffer
        scales: tuple[Tensor, ...] = ()
        if adapted:
            scales = self._trust_ratios(
                params,
                steps if variant.decay_in_norm else grads,
                decay,
                eta,
                eps,
                lr if late else 1.0,
            )
        elif late:
            steps = list(torch._foreach_mul(steps, lr))
        steps = self._accumulate(params, steps, scales, momentum)
        torch._foreach_add_(params, steps, alpha=-1 if late else -lr)

    def _trust_ratios(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        decay: float,
        eta: float,
        eps: float,
        factor: float,
    ) -> tuple[Tensor, ...]:
        """``factor`` times each parameter's ratio, on the device."""
        variant = _VARIANTS[self.variant]
        weight = torch.stack(torch._foreach_norm(params))
        grad = torch.stack(torch._foreach_norm(grads))
        below = grad if variant.decay_in_norm else grad + decay * weight
        if variant.guarded:
            below = below + eps
            either_zero = (weight == 0) | (grad == 0)
            ratio = torch.where(either_zero, 1.0, eta * weight / below)
        else:
            ratio = torch.where(below == 0, 0.0, eta * weight / below)
        return (ratio * factor).unbind()

    def _accumulate(
        self, params: list[Tensor], steps: list[Tensor], scales: tuple[Tensor, ...], momentum: float
    ) -> list[Tensor]:
        """Add scaled steps to the momentum buffers and return these."""
        if not momentum:
            return list(torch._foreach_mul(steps, scales)) if scales else steps  # type: ignore[arg-type]
        buffers = [self._buffer(p) for p in params]
        torch._foreach_mul_(buffers, momentum)
        if scales:  # in one pass over the memory
            torch._foreach_addcmul_(buffers, steps, scales)  # type: ignore[call-overload]
        else:
            torch._foreach_add_(buffers, steps)
        return buffers
