"""InfoNCE against a queue without the matrix of logits."""

import torch
from torch import Tensor

from dense_ssl.errors import UserError

# Logits of unit vectors lie within 1 / tau. Up to e^40, sums over any queue
# stay far inside float32, and no maximum has to be taken out first.
_LEAST_PLAIN_TEMPERATURE = 1 / 40


def _chunk_elements(device: torch.device) -> int:
    """Elements of logits alive at once.

    On a CPU what stays in its cache (2 MiB); on a GPU enough to keep it busy
    with few kernels (128 MiB).
    """
    return 1 << 19 if device.type == 'cpu' else 1 << 25


class _QueueInfoNCE(torch.autograd.Function):
    """Loss and its gradient in one sweep over chunks of the queue.

    The gradient of the loss of row i has a closed form,
    ``(sum_j p_ij n_j + (p_i0 - 1) k_i) / tau`` with p the softmax, so it is
    computed while the logits are at hand. Nothing of size R x K outlives its
    chunk, and the queue may be overwritten before the backward pass.
    """

    @staticmethod
    def forward(ctx, query, positive, queue, temperature):
        needs_query, needs_positive = ctx.needs_input_grad[:2]
        scaled = query / temperature
        pos = (scaled * positive).sum(1)
        size = max(1, _chunk_elements(query.device) // max(1, len(query)))
        chunks = queue.split(size)
        top = None
        if temperature < _LEAST_PLAIN_TEMPERATURE:
            top = pos
            for keys in chunks:
                top = torch.maximum(top, (scaled @ keys.t()).amax(1))
        total = (pos if top is None else pos - top).exp()
        grad = torch.zeros_like(query)
        for keys in chunks:
            weights = scaled @ keys.t()
            if top is not None:
                weights.sub_(top[:, None])
            total += weights.exp_().sum(1)
            if needs_query:
                grad.addmm_(weights, keys)
        lse = total.log() if top is None else total.log() + top
        if needs_query:
            # in the loop, the weights were not yet probabilities
            grad.mul_((-lse if top is None else top - lse).exp()[:, None])
        pull = ((pos - lse).exp() - 1)[:, None]
        if needs_query:
            grad.addcmul_(pull, positive).div_(temperature)
        grad_positive = query * pull / temperature if needs_positive else None
        ctx.save_for_backward(grad if needs_query else None, grad_positive)
        return lse - pos

    @staticmethod
    def backward(ctx, grad_output):
        scale = grad_output[:, None]
        grads = [None if g is None else g * scale for g in ctx.saved_tensors]
        return (*grads, None, None)


def queue_info_nce(query: Tensor, positive: Tensor, queue: Tensor, temperature: float) -> Tensor:
    r"""InfoNCE of each query (MoCo, eq. 1; DenseCL, eq. 1 and 2).

    .. math:: L_i = -\log \frac{e^{q_i k_i / \tau}}
              {e^{q_i k_i / \tau} + \sum_j e^{q_i n_j / \tau}}

    Exact, computed without holding the R x K logits. The queue gets no
    gradient and may be changed in place before the backward pass.

    Args:
        query (Tensor): Unit vectors (R, D).
        positive (Tensor): Unit vectors (R, D), one for each query.
        queue (Tensor): Negatives (K, D), unit vectors.
        temperature (float): tau.

    Returns:
        Tensor: Loss (R,), at least float32.
    """
    if temperature <= 0:
        raise UserError(f'temperature={temperature} must be positive')
    dtype = torch.promote_types(query.dtype, torch.float32)
    # Sums over 65 536 exponentials overflow or drown in half precision.
    with torch.autocast(query.device.type, enabled=False):
        return _QueueInfoNCE.apply(
            query.to(dtype), positive.to(dtype), queue.detach().to(dtype), temperature
        )
