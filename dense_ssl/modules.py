"""What several rooms need of torch modules."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.model import is_model_wrapper
from torch import nn

from .errors import UserError

__all__ = ['AnyBands', 'bare']


class AnyBands:
    """Before a preprocessor of mmengine's, which takes 1 or 3 means, among a class's bases."""

    def __init__(
        self,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (mean is None) != (std is None) or len(mean or ()) != len(std or ()):
            raise UserError(f'mean and std must have a number a band each, got {mean} and {std}')
        if mean is not None:
            self._enable_normalize = True
            for name, values in (('mean', mean), ('std', std)):
                buffer = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
                self.register_buffer(name, buffer, False)  # type: ignore[attr-defined]


def bare(model: nn.Module) -> nn.Module:
    """The model inside a parallel wrapper; ``model`` itself where there is none."""
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]
