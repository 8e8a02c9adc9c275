"""InfoNCE against a queue without the matrix of logits."""
import torch
from torch import Tensor

# Elements of logits alive at once (fp32: 32 MiB). Enough rows to keep the
# matrix products efficient at a queue of 65 536.
_CHUNK_ELEMENTS = 1 << 23


class _QueueInfoNCE(torch.autograd.Function):
    """Loss and its gradient in one sweep over chunks of queries.

    The gradient of the loss of row i has a closed form,
    ``(sum_j p_ij n_j + (p_i0 - 1) k_i) / tau`` with p the softmax, so it is
    computed while the logits are at hand. Nothing of size R x K outlives its
    chunk, and the queue may be overwritten before the backward pass.
    """

    @staticmethod
    def forward(ctx, query, positive, queue, temperature):
        needs_query, needs_positive = ctx.needs_input_grad[:2]
        pos = (query * positive).sum(1) / temperature
        lse = torch.empty_like(pos)
        grad = torch.empty_like(query) if needs_query else None
        rows = max(1, _CHUNK_ELEMENTS // queue.shape[0])
        for start in range(0, query.shape[0], rows):
            part = slice(start, start + rows)
            logits = (query[part] @ queue.t()).to(pos.dtype)
            logits.div_(temperature)
            top = torch.maximum(logits.amax(1), pos[part])
            weights = logits.sub_(top[:, None]).exp_()
            total = weights.sum(1) + (pos[part] - top).exp()
            lse[part] = top + total.log()
            if needs_query:
                grad[part] = (weights @ queue) / total[:, None]
        pull = ((pos - lse).exp() - 1)[:, None]
        if needs_query:
            grad.addcmul_(pull, positive).div_(temperature)
        grad_positive = (
            query * pull / temperature if needs_positive else None)
        ctx.save_for_backward(grad, grad_positive)
        return lse - pos

    @staticmethod
    def backward(ctx, grad_output):
        scale = grad_output[:, None]
        grads = [None if g is None else g * scale for g in ctx.saved_tensors]
        return (*grads, None, None)


def queue_info_nce(query: Tensor, positive: Tensor, queue: Tensor,
                   temperature: float) -> Tensor:
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
        raise ValueError(f'temperature={temperature} must be positive')
    dtype = torch.promote_types(query.dtype, torch.float32)
    # Sums over 65 536 exponentials overflow or drown in half precision.
    with torch.autocast(query.device.type, enabled=False):
        return _QueueInfoNCE.apply(
            query.to(dtype), positive.to(dtype),
            queue.detach().to(dtype), temperature)
