"""The levels of MCL: which montages there are, and which map reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor, nn

from dense_ssl.errors import UserError

from .montage import MontageAssembler


class Montages(NamedTuple):
    """One side's images of all levels, as one batch.

    Attributes:
        images (Tensor): (M_0 + M_1 + ..., 3, S, S), level after level.
        counts (tuple[int]): M_l, montages of each level.
        labels (list[Tensor]): Image of each cell, int64 (M_l * ratio_l^2, ).
    """

    images: Tensor
    counts: tuple[int, ...]
    labels: list[Tensor]


class MontageLevels(nn.Module):
    """Montages of several ratios from one view of the batch each.

    Level 0 holds the plain images, in order, all other levels montages.

    Args:
        ratios (Sequence[int]): Cells per side of each level, first 1.
        shares (Sequence[float]): Montages of each level per image of the
            batch, first 1. Rounded down, but never to none.
        fpn_levels (Sequence[int]): Index of the map, finest is 0, that reads
            each level, descending.

    Raises:
        UserError: If the lists do not fit together.
    """

    def __init__(
        self, ratios: Sequence[int], shares: Sequence[float], fpn_levels: Sequence[int]
    ) -> None:
        super().__init__()
        if not len(ratios) == len(shares) == len(fpn_levels) > 0:
            raise UserError(
                f'ratios={ratios}, shares={shares} and fpn_levels='
                f'{fpn_levels} need one entry for each level'
            )
        if ratios[0] != 1 or shares[0] != 1:
            raise UserError(
                'level 0 holds the plain images, whose embeddings are the '
                f'targets: ratios[0]={ratios[0]} and shares[0]={shares[0]} '
                'must be 1'
            )
        if min(shares) <= 0:
            raise UserError(
                f'shares={shares}: a level cannot be filled '
                'with a share of 0 or less; drop the level'
            )
        if list(fpn_levels) != sorted(set(fpn_levels), reverse=True):
            raise UserError(
                f'fpn_levels={fpn_levels} must descend: each '
                'level reads a finer map than the one before'
            )
        if min(fpn_levels) < 0:
            raise UserError(f'fpn_levels={fpn_levels} must not be negative')
        self.assemblers = nn.ModuleList(MontageAssembler(r) for r in ratios)
        self.ratios = tuple(ratios)
        self.shares = tuple(shares)
        self.fpn_levels = tuple(fpn_levels)

    def __len__(self) -> int:
        return len(self.shares)

    def counts(self, batch_size: int) -> tuple[int, ...]:
        """Montages of each level for a batch: at least one."""
        return tuple(max(1, int(batch_size * s)) for s in self.shares)

    def check_weights(self, head: nn.Module) -> None:
        """Raise UserError if ``head`` has weights, but not one a level."""
        weights: Any = getattr(head, 'weights', self.shares)
        if len(weights) != len(self):
            raise UserError(
                f'head.weights={weights}: give one weight for each of the {len(self)} levels'
            )

    def forward(
        self, views: Sequence[Tensor], generator: Optional[torch.Generator] = None
    ) -> Montages:
        """Assemble one side.

        Args:
            views (Sequence[Tensor]): View l (B, 3, S_l, S_l) of the batch
                for level l, with S_l the size S of level 0 or S / ratio_l.
            generator (torch.Generator, optional): Source of the draws.

        Raises:
            UserError: If there is not one view for each level, or sizes do
                not fit.
        """
        if len(views) != len(self):
            raise UserError(
                f'{len(views)} views for {len(self)} levels: '
                'num_views of GeometricMultiView is twice the levels'
            )
        batch, size = len(views[0]), views[0].shape[-1]
        images = [views[0]]
        labels = [torch.arange(batch, device=views[0].device)]
        counts = self.counts(batch)
        for level in range(1, len(self)):
            montages, drawn = self.assemblers[level](views[level], counts[level], generator, size)
            images.append(montages)
            labels.append(drawn.flatten())
        return Montages(torch.cat(images), counts, labels)
