"""What several rooms need of torch modules."""

from mmengine.model import is_model_wrapper
from torch import nn

__all__ = ['bare']


def bare(model: nn.Module) -> nn.Module:
    """The model inside a parallel wrapper; ``model`` itself where there is none."""
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]
