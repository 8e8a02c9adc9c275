"""From samples to a batch."""

from collections.abc import Sequence
from typing import Optional

from mmengine.dataset import default_collate
from mmengine.registry import FUNCTIONS

__all__ = ['collate_views']


@FUNCTIONS.register_module()
def collate_views(samples: Sequence[dict], _scope_: Optional[str] = None) -> dict:
    """mmengine's default_collate, for configs that are inherited.

    mmengine puts ``_scope_`` into every dict of a config inherited as
    ``package::path`` and hands it to the function, which the original does
    not take.

    Args:
        samples (Sequence[dict]): Packed samples of N images with V views.

    Returns:
        dict: ``inputs``, a list of V tensors (N, 3, H, W), and
        ``data_samples``, a list of N.
    """
    return default_collate(samples)
