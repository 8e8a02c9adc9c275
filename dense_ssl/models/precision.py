"""Where half precision would not do."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` itself, unless it is in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
