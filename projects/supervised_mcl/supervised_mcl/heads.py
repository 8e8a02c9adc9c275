"""Losses of cells whose class is known."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from dense_ssl.models import MultiLevelContrastHead
from dense_ssl.models.feature_queue import gather_batch
from dense_ssl.models.heads.multi_level_contrast_head import LevelContrast
from dense_ssl.models.precision import at_least_float32
from dense_ssl.registry import MODELS


@MODELS.register_module()
class CellClassificationHead(BaseModule):
    """One linear classifier for the cells of all levels.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): D of the region head. Defaults to 256.
        weights (Sequence[float]): Weight of each level's cross-entropy.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        weights: Sequence[float] = (1 / 2, 1 / 4, 1 / 8, 1 / 8),
    ) -> None:
        super().__init__(dict(type='Normal', layer='Linear', std=0.01, bias=0))
        self.num_classes = num_classes
        self.weights = tuple(weights)
        self.fc = nn.Linear(in_channels, num_classes)

    def loss(self, embeddings: Sequence[Tensor], classes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses of all levels.

        Args:
            embeddings (Sequence[Tensor]): Cells (R_l, D) of each level.
            classes (Sequence[Tensor]): Their classes, int64 (R_l, ).

        Returns:
            dict: ``loss_level{l}``, weighted, and ``accuracy_level{l}``.
        """
        losses = {}
        for level, weight in enumerate(self.weights):
            logits = self.fc(embeddings[level])
            losses[f'loss_level{level}'] = weight * F.cross_entropy(logits, classes[level])
            hits = logits.detach().argmax(1) == classes[level]
            losses[f'accuracy_level{level}'] = hits.float().mean()
        return losses


@MODELS.register_module()
class SameClassContrastHead(MultiLevelContrastHead):
    r"""MCL's loss with all targets of a cell's class as its positives.

    .. math:: L_l = -2 \tau w_l \, \text{mean}_i \, \text{mean}_{p \in P(i)}
              \log \text{softmax}(z_i T^\top / \tau)_p

    P(i) are the images of the cell's class among those of all processes, its
    own image included (supervised contrastive loss, arXiv 2004.11362, eq. 2).
    Where all classes differ this is MCL's loss.

    Args:
        weights, temperature: See :class:`MultiLevelContrastHead`.
    """

    def loss(
        self,
        predictions: Sequence[Tensor],
        labels: Sequence[Tensor],
        targets: Tensor,
        classes: Tensor,
    ) -> list[LevelContrast]:
        """As the base class.

        Args:
            predictions, labels, targets: See the base class.
            classes (Tensor): Class of each of this process's images, int64
                (B, ).
        """
        with torch.autocast(targets.device.type, enabled=False):
            own = F.normalize(at_least_float32(targets.detach()), dim=1)
            everyones, all_classes = gather_batch(own), gather_batch(classes)
            results = []
            for z, y, weight in zip(predictions, labels, self.weights):
                positives = classes[y][:, None] == all_classes
                cosines = F.normalize(at_least_float32(z), dim=1) @ everyones.t()
                results.append(self._level(cosines, positives, weight))
            return results

    def _level(self, cosines: Tensor, positives: Tensor, weight: float) -> LevelContrast:
        log_p = F.log_softmax(cosines / self.temperature, dim=1)
        loss = -((log_p * positives).sum(1) / positives.sum(1)).mean()
        with torch.no_grad():
            pos_cos = (cosines * positives).sum() / positives.sum()
            others = (~positives).sum().clamp(min=1)
            neg_cos = (cosines * ~positives).sum() / others
        return LevelContrast(2 * self.temperature * weight * loss, pos_cos, neg_cos)
