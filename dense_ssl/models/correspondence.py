"""Which cell of one view belongs to which cell of the other.

To add one: subclass :class:`Correspondence`, say how close two cells are, and
register it. Every algorithm that takes a ``correspondence`` can then use it.
"""

from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from .geometry import cell_distance
from .precision import at_least_float32


class ViewMap(NamedTuple):
    """A view as the correspondence sees it.

    Attributes:
        features (Tensor): Feature map (N, C, H, W); only its size matters to
            a geometric correspondence.
        boxes (Tensor, optional): View boxes (N, 4).
    """

    features: Tensor
    boxes: Optional[Tensor] = None


class Match(NamedTuple):
    """Best partner of each cell of the first view.

    Attributes:
        index (Tensor): Cell of the second view, int64 (N, Sa), row-major.
        valid (Tensor): Whether there is a partner at all, bool (N, Sa).
    """

    index: Tensor  # type: ignore[assignment]  # a tuple's method of that name
    valid: Tensor


class Correspondence(nn.Module):
    """Base class: a closeness between cells and the least that counts.

    Attributes:
        needs_boxes (bool): Whether view boxes are read.
        needs_features (bool): Whether more than the size of feature maps is
            read. If not, maps need not hold the right images.
        least (float): Pairs whose closeness is not above it are no pairs.
            Without a limit (default) a cell has one partner, its closest.
    """

    needs_boxes = False
    needs_features = True
    least = float('-inf')

    def closeness(self, a: ViewMap, b: ViewMap) -> Tensor:
        """(N, Sa, Sb); larger is closer."""
        raise NotImplementedError

    @torch.no_grad()
    def match(self, a: ViewMap, b: ViewMap) -> Match:
        """One partner in ``b`` for each cell of ``a``."""
        best, index = self.closeness(a, b).max(dim=2)
        return Match(index, best > self.least)

    @torch.no_grad()
    def pairs(self, a: ViewMap, b: ViewMap) -> Tensor:
        """All pairs that count, bool (N, Sa, Sb)."""
        closeness = self.closeness(a, b)
        if self.least > float('-inf'):
            return closeness > self.least
        best = closeness.argmax(dim=2, keepdim=True)
        return torch.zeros_like(closeness, dtype=torch.bool).scatter_(2, best, True)


@MODELS.register_module()
class SimilarityCorrespondence(Correspondence):
    """The most similar backbone feature (DenseCL, eq. 4).

    ``c(s) = argmax_t cos(f_a[s], f_b[t])``; every cell has a partner.
    """

    def closeness(self, a: ViewMap, b: ViewMap) -> Tensor:
        # Neighbouring cells are alike: half precision makes ties of them.
        fa, fb = (F.normalize(at_least_float32(x.features).flatten(2), dim=1) for x in (a, b))
        with torch.autocast(fa.device.type, enabled=False):
            return fa.transpose(1, 2) @ fb


@MODELS.register_module()
class GeometricCorrespondence(Correspondence):
    """Cells that lie on the same spot of the image (PixPro, sec. 3.1).

    Args:
        radius (float): T; cells count as a pair when their centres are less
            than T bin diagonals apart. Defaults to 0.7.
    """

    needs_boxes = True
    needs_features = False

    def __init__(self, radius: float = 0.7) -> None:
        super().__init__()
        if not radius > 0:
            raise UserError(f'radius={radius} must be positive')
        self.radius = radius
        self.least = -radius

    def closeness(self, a: ViewMap, b: ViewMap) -> Tensor:
        assert a.boxes is not None and b.boxes is not None, 'needs_boxes'
        return -cell_distance(a.boxes, b.boxes, a.features.shape[-2:], b.features.shape[-2:])
