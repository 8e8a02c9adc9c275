"""Shuffled batch norm: no process may recognise its own images by it."""

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor


class BatchShuffle:
    """Exchange of samples between processes, and its inverse (MoCo, 3.3).

    Each process deals its samples, in random order, to all processes in equal
    shares (they differ by one where the batch does not divide), so that a
    process normalises a momentum batch made of everybody's images. Only the
    samples that move are sent, N per process, not the N * world that an
    all-gather costs. Without several processes it changes nothing.

    Args:
        batch_size (int): N, equal on all processes.
        device (torch.device): Where the tensors live.
        enabled (bool): False turns it off.
    """

    def __init__(self, batch_size: int, device: torch.device, enabled: bool = True) -> None:
        world, rank = get_world_size(), get_rank()
        self.active = enabled and world > 1
        if not self.active:
            return
        # share[d] goes from every process to the one d ranks further on.
        share = [(batch_size + world - 1 - d) // world for d in range(world)]
        self.sent = [share[(r - rank) % world] for r in range(world)]
        self.received = [share[(rank - r) % world] for r in range(world)]
        self.order = torch.randperm(batch_size, device=device)
        self.inverse = torch.argsort(self.order)

    @staticmethod
    def _exchange(x: Tensor, sent: list[int], received: list[int]) -> Tensor:
        out = torch.empty_like(x)
        dist.all_to_all_single(out, x, received, sent)
        return out

    def shuffle(self, x: Tensor) -> Tensor:
        """(N, ...) of this process -> (N, ...) drawn from all processes."""
        if not self.active:
            return x
        return self._exchange(x[self.order], self.sent, self.received)

    def unshuffle(self, x: Tensor) -> Tensor:
        """Bring what was computed from shuffled samples back home."""
        if not self.active:
            return x
        return self._exchange(x.contiguous(), self.received, self.sent)[self.inverse]
