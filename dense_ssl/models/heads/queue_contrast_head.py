"""Contrast against a queue of negatives."""

from typing import Optional

from mmengine.model import BaseModule
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..losses import queue_info_nce


@MODELS.register_module()
class QueueContrastHead(BaseModule):
    """Mean InfoNCE of queries, one positive each, shared negatives.

    Args:
        temperature (float): tau. Defaults to 0.2 (MoCo v2, DenseCL).

    Attributes:
        keeps_queue (bool): Whether the backward pass reads the queue. A head
            without this attribute is taken to, and given a copy.
    """

    keeps_queue = False

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError(f'temperature={temperature} must be positive')
        self.temperature = temperature

    def loss(
        self, query: Tensor, positive: Tensor, queue: Tensor, valid: Optional[Tensor] = None
    ) -> Tensor:
        """Mean loss over the queries.

        Args:
            query, positive (Tensor): Unit vectors (R, D).
            queue (Tensor): Negatives (K, D).
            valid (Tensor, optional): bool (R,); queries without a positive
                (False) are left out of the mean. With none left the loss is
                zero.

        Returns:
            Tensor: Scalar.
        """
        losses = queue_info_nce(query, positive, queue, self.temperature)
        if valid is None:
            return losses.mean()
        return (losses * valid).sum() / valid.sum().clamp(min=1)
