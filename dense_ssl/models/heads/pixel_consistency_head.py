"""PixPro's loss."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..losses import positive_cosine
from ..precision import at_least_float32


@MODELS.register_module()
class PixelConsistencyHead(BaseModule):
    r"""Agreement of propagated cells with the other view (PixPro, sec. 3.2).

    .. math:: L_{a \to b} = - \frac{w}{N} \sum_n
              \frac{\sum_{ij} A_{ij} \cos(y_i, x'_j)}{\sum_{ij} A_{ij}}

    An image whose views do not overlap adds nothing but counts in N.

    Args:
        loss_weight (float): w, of one direction, for cells and whole images
            alike. Defaults to 2, so that both directions together go to -4,
            as in the released code; 0.5 gives the paper's scale.
    """

    def __init__(self, loss_weight: float = 2.0) -> None:
        super().__init__()
        if not loss_weight > 0:
            raise UserError(f'loss_weight={loss_weight} must be positive')
        self.loss_weight = loss_weight

    def loss(self, online: Tensor, target: Tensor, positive: Tensor) -> Tensor:
        """Loss of one direction, a scalar.

        Args:
            online (Tensor): y, propagated cells of one view, unit vectors
                (N, Sa, D).
            target (Tensor): x', momentum cells of the other (N, Sb, D).
            positive (Tensor): A, bool (N, Sa, Sb).
        """
        cosine = positive_cosine(online, target, positive)
        return -self.loss_weight * cosine.mean()

    def image_loss(self, online: Tensor, target: Tensor) -> Tensor:
        """Loss of one direction between images, by their mean cells.

        Args:
            online, target (Tensor): Maps (N, D, H, W) of the instance branch.
        """
        online, target = (at_least_float32(x).mean((2, 3)) for x in (online, target))
        return -self.loss_weight * F.cosine_similarity(online, target).mean()
