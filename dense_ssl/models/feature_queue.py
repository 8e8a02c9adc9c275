"""Ring buffer of past keys that serve as negatives."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_world_size
from torch import Tensor, nn

from dense_ssl.errors import UserError


def gather_batch(x: Tensor) -> Tensor:
    """``x`` (N, ...) of all processes, rank order, (N * world, ...)."""
    return x if get_world_size() == 1 else torch.cat(all_gather(x))


class FeatureQueue(nn.Module):
    """First-in first-out queue of unit vectors (MoCo, sec. 3.2).

    It starts with random unit vectors, as the released code does, and wraps
    at any batch size: the length need not be a multiple of the batch. A saved
    queue of another length is left out when weights are loaded: this one then
    counts as empty.

    Args:
        length (int): Number of keys K.
        dim (int): Dimension D of a key.

    Attributes:
        features (Tensor): The keys (K, D), rows of unit length.
    """

    features: Tensor
    written: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        # Keys ever written: the buffer is saved, the int spares a host sync.
        self.register_buffer('written', torch.zeros((), dtype=torch.long))
        self._written = 0
        self._latest = 0  # keys of the last batch
        self.dim = dim
        self.register_buffer('features', torch.empty(0, dim))
        self.resize(length)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        saved = state_dict.get(prefix + 'features')
        if saved is not None and len(saved) != len(self) and saved.shape[1:] == (self.dim,):
            self._restart()  # with the keys at hand, which all processes share
            return
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + 'written' in state_dict:
            self._written = int(state_dict[prefix + 'written'])

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def pointer(self) -> int:
        """Slot that the next key takes."""
        return self._written % len(self)

    @property
    def filled(self) -> int:
        """Slots that hold real keys rather than the random start."""
        return min(self._written, len(self))

    @property
    def age(self) -> int:
        """Batches since the oldest key was written, if all were as large as the last."""
        return -(-self.filled // self._latest) if self._latest else 0

    def resize(self, length: int) -> None:
        """Start anew with ``length`` random keys."""
        if length < 1:
            raise UserError(f'queue length {length}: queue_len must be 1 or more')
        self.features = F.normalize(self.features.new_empty(length, self.dim).normal_(), dim=1)
        self._restart()

    def _restart(self) -> None:
        self.written.zero_()
        self._written = 0

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Overwrite the oldest keys with ``keys`` (N, D) of all processes.

        Call it after the losses of the step, on detached unit vectors.
        """
        keys = gather_batch(keys.detach().to(self.features.dtype))
        new = self._latest = keys.shape[0]
        keys = keys[-len(self) :]
        start = (self._written + new - keys.shape[0]) % len(self)
        head = keys[: len(self) - start]
        self.features[start : start + head.shape[0]] = head
        self.features[: keys.shape[0] - head.shape[0]] = keys[head.shape[0] :]
        self._written += new
        self.written += new
