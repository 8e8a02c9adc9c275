"""PixContrast's loss."""

from mmengine.model import BaseModule
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..losses import pixel_contrast


@MODELS.register_module()
class PixelContrastHead(BaseModule):
    """Contrast of a cell's positives with all cells of the other view.

    PixPro, sec. 3.1; averaged over the cells of a view that have a
    positive and over the images. An image whose views do not overlap adds
    nothing but counts in the mean.

    Args:
        temperature (float): tau. Defaults to 0.3.
        loss_weight (float): Weight of one direction. Defaults to 0.5, the
            mean of both directions.
    """

    def __init__(self, temperature: float = 0.3, loss_weight: float = 0.5) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError(f'temperature={temperature} must be positive')
        self.temperature = temperature
        if not loss_weight > 0:
            raise UserError(f'loss_weight={loss_weight} must be positive')
        self.loss_weight = loss_weight

    def loss(self, online: Tensor, target: Tensor, positive: Tensor) -> Tensor:
        """Loss of one direction, a scalar.

        Args:
            online (Tensor): Online cells of one view, unit vectors
                (N, Sa, D).
            target (Tensor): Momentum cells of the other (N, Sb, D).
            positive (Tensor): Pairs, bool (N, Sa, Sb).
        """
        losses = pixel_contrast(online, target, positive, self.temperature)
        return self.loss_weight * losses.mean()
