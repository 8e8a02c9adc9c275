"""MCL: multi-level contrastive learning on montages."""

from typing import Union

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..diagnostics import target_ranking
from ..montage_embedding import embed_everything, embed_plain, embed_selected
from ..montage_levels import MontageLevels, Montages
from ..networks.fpn import freeze_unread
from ..widths import follow
from .base import MomentumSelfSupervisor, build_part


@MODELS.register_module()
class MCL(MomentumSelfSupervisor):
    """Multi-level contrastive learning (arXiv 2304.02010).

    An image shrunk into a cell of a montage is to be recognised, on the
    pyramid level made for objects of its size, as the same image that the
    momentum networks see at full size. Backbone, FPN and the convolutions of
    the region head all transfer to a detector.

    Args:
        backbone (dict): Its output maps, finest first, feed the neck.
        neck (dict): ``FPN`` of this package, or ``mmdet.FPN``.
        region_head (dict): A :class:`RegionHead`.
        predictor (dict): Predictor, one is built for each level.
        head (dict): Defaults to ``MultiLevelContrastHead``.
        ratios (Sequence[int]): Cells per side of the levels' montages.
        shares (Sequence[float]): Montages of a level per image; rounded
            down, at least one montage.
        fpn_levels (Sequence[int]): Map that reads a level, finest is 0.
        mode (str): 'selected' (default) runs FPN and region head only where
            the loss reads, and the momentum networks on the plain images
            only; 'exact' runs everything everywhere as the released code
            does. They differ in the statistics of batch norm, and in
            nothing else.
        momentum, end_momentum, first_step, data_preprocessor, init_cfg: See
            :class:`MomentumSelfSupervisor`. The momentum goes from 0.99 to 1.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        region_head: dict,
        predictor: dict,
        head: dict = dict(type='MultiLevelContrastHead'),
        ratios: tuple = (1, 2, 4, 8),
        shares: tuple = (1, 1 / 4, 1 / 16, 1 / 32),
        fpn_levels: tuple = (3, 2, 1, 0),
        mode: str = 'selected',
        momentum: float = 0.99,
        end_momentum: Union[float, None] = 1.0,
        first_step: int = 0,
        data_preprocessor: Union[dict, None] = None,
        init_cfg: Union[dict, list[dict], None] = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            neck=neck,
            extra_networks=dict(region_head=region_head),
            head=head,
            momentum=momentum,
            end_momentum=end_momentum,
            first_step=first_step,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if mode not in ('selected', 'exact'):
            raise UserError(f"mode='{mode}': use 'selected' or 'exact'")
        self.mode = mode
        self.levels = MontageLevels(ratios, shares, fpn_levels)
        freeze_unread(self.neck, fpn_levels)
        predictor = follow(predictor, lambda: self.region_head.out_channels)
        self.predictors = nn.ModuleList(build_part(predictor) for _ in self.levels.ratios)
        self.levels.check_weights(self.head)

    def embed(self, side: Montages) -> list[Tensor]:
        """Online embeddings of the cells of each level."""
        run = embed_selected if self.mode == 'selected' else embed_everything
        maps = self.backbone(side.images)
        embeddings = run(self, self.levels, side, maps)
        self.observe('feature', maps[-1][: side.counts[0]])
        self.observe('image', embeddings[0])
        if len(embeddings) > 1:
            self.observe('cell', torch.cat, embeddings[1:])
        return embeddings

    @torch.no_grad()
    def embed_targets(self, side: Montages) -> Tensor:
        """Momentum embeddings (B, D) of the plain images."""
        if self.mode == 'selected':
            return embed_plain(self.momentum_encoder, self.levels, side)
        return embed_everything(self.momentum_encoder, self.levels, side)[0]

    def predict(self, embeddings: list[Tensor]) -> list[Tensor]:
        """Each level's predictor on its embeddings."""
        return [predictor((x,))[0] for predictor, x in zip(self.predictors, embeddings)]

    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample], **kwargs
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs (list[Tensor]): Views, for L levels 2 L: level l of the
                first side is made of view l, of the second of view L + l.
                All (B, 3, S, S), or view l of the size of a cell, S / ratio.
            data_samples (list[DataSample]): Not read.

        Returns:
            dict: ``loss_level{l}``, weighted, both sides added; ``pos_cos``
            and ``neg_cos``, level 0's mean cosines to the own target and to
            the others (equal if the embeddings have collapsed).
        """
        return self.contrast(*self.assemble(inputs))

    def assemble(self, inputs: list[Tensor]) -> tuple[Montages, Montages]:
        """Both sides' montages."""
        self.momentum_encoder.check_followed()
        count = len(self.levels)
        self.check_views(inputs, 2 * count)
        return self.levels(inputs[:count]), self.levels(inputs[count:])

    def contrast(self, *sides: Montages, **kwargs) -> dict[str, Tensor]:
        """Contrast two sides, each with the other's targets.

        Args:
            sides (Montages): Two.
            **kwargs: What else the head's loss takes.
        """
        predictions = [self.predict(x) for x in map(self.embed, sides)]
        targets = [self.embed_targets(side) for side in sides]

        z, labels, own = predictions[0], sides[0].labels, targets[1]
        self.observe('image_ranking', target_ranking, z[:1], labels[:1], own)
        if len(z) > 1:
            self.observe('cell_ranking', target_ranking, z[1:], labels[1:], own)
        first = self.head.loss(predictions[0], sides[0].labels, targets[1], **kwargs)
        second = self.head.loss(predictions[1], sides[1].labels, targets[0], **kwargs)
        losses = {
            f'loss_level{level}': a.loss + b.loss for level, (a, b) in enumerate(zip(first, second))
        }
        losses['pos_cos'] = (first[0].pos_cos + second[0].pos_cos) / 2
        losses['neg_cos'] = (first[0].neg_cos + second[0].neg_cos) / 2
        return losses
