"""MCL's loss."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.model import BaseModule
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..feature_queue import gather_batch
from ..precision import at_least_float32


class LevelContrast(NamedTuple):
    """Result of one level, scalars.

    Attributes:
        loss (Tensor): Weighted loss.
        pos_cos (Tensor): Mean cosine to the own target, no gradient.
        neg_cos (Tensor): Mean cosine to the other targets, no gradient.
    """

    loss: Tensor
    pos_cos: Tensor
    neg_cos: Tensor


@MODELS.register_module()
class MultiLevelContrastHead(BaseModule):
    r"""Find each cell's image among all images (MCL, arXiv 2304.02010).

    .. math:: L_l = 2 \tau w_l \, CE(z_l T^\top / \tau, \text{labels})

    with the predicted cell embeddings :math:`z_l` of level l and the momentum
    embeddings T of the plain images of all processes, both of unit length.

    Args:
        weights (Sequence[float]): w_l of each level. Defaults to
            (1/2, 1/4, 1/8, 1/8).
        temperature (float): tau. Defaults to 1.
    """

    def __init__(
        self, weights: Sequence[float] = (1 / 2, 1 / 4, 1 / 8, 1 / 8), temperature: float = 1.0
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError(f'temperature={temperature} must be positive')
        if min(weights) < 0 or not sum(weights) > 0:
            raise UserError(f'weights={tuple(weights)}: none may be negative, nor all of them 0')
        self.weights = tuple(weights)
        self.temperature = temperature

    def loss(
        self, predictions: Sequence[Tensor], labels: Sequence[Tensor], targets: Tensor
    ) -> list[LevelContrast]:
        """Losses of one side's levels against the other side's targets.

        Args:
            predictions (Sequence[Tensor]): z_l (R_l, D) of each level, not
                normalised.
            labels (Sequence[Tensor]): Index (R_l, ) of each cell's image in
                this process's batch, int64.
            targets (Tensor): Embeddings (B, D) of this process's images, not
                normalised. They get no gradient.

        Returns:
            list[LevelContrast]: One for each level.
        """
        # Cosines in half precision would cost three digits.
        with torch.autocast(targets.device.type, enabled=False):
            own = F.normalize(at_least_float32(targets.detach()), dim=1)
            everyones = gather_batch(own)
            offset = len(own) * get_rank()
            return [
                self._contrast(at_least_float32(z), y + offset, everyones, weight)
                for z, y, weight in zip(predictions, labels, self.weights)
            ]

    def _contrast(self, z: Tensor, labels: Tensor, targets: Tensor, weight: float) -> LevelContrast:
        cosines = F.normalize(z, dim=1) @ targets.t()
        loss = F.cross_entropy(cosines / self.temperature, labels)
        with torch.no_grad():
            positive = cosines.gather(1, labels[:, None]).sum()
            others = max(1, cosines.numel() - len(cosines))
            neg_cos = (cosines.sum() - positive) / others
        return LevelContrast(2 * self.temperature * weight * loss, positive / len(cosines), neg_cos)
