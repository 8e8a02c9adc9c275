"""DenseCL, and MoCo v2 as its special case."""

from collections.abc import Sequence
from typing import Optional, Union

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS

from ..batch_shuffle import BatchShuffle
from ..correspondence import Match, ViewMap
from ..diagnostics import queue_ranking
from ..feature_queue import FeatureQueue
from ..networks.dense_projector import DenseProjection
from ..networks.fpn import freeze_unread
from .base import MomentumSelfSupervisor, build_part


@MODELS.register_module()
class DenseCL(MomentumSelfSupervisor):
    r"""Dense contrastive learning (arXiv 2011.09157, eq. 3).

    .. math:: L = (1 - \lambda) L_{global} + \lambda L_{dense}

    Both are InfoNCE against queues of past keys: the global one of image
    embeddings, the dense one of cell embeddings, whose positives are found by
    a correspondence between the cells of the two views. With ``loss_lambda=0``
    and a projector ``with_dense=False`` this is MoCo v2.

    Args:
        backbone (dict): Its last output map (N, C, H, W) is used.
        projector (dict): A :class:`DenseProjector`.
        head (dict): Loss of queries, positives and a queue. Defaults to
            ``QueueContrastHead`` with temperature 0.2.
        correspondence (dict): Which cell of the momentum view is a cell's
            positive. Defaults to ``SimilarityCorrespondence``;
            ``GeometricCorrespondence`` takes the cell at the same spot, and
            leaves cells outside the views' overlap out of the dense loss.
        queue_len (int): K, length of each queue. Defaults to 65536.
        momentum (float): Weight of the old value. Defaults to 0.999.
        loss_lambda (float): Weight of the dense loss. Defaults to 0.5. A
            warm-up is mmpretrain's ``DenseCLHook``.
        shuffle_bn (bool): Exchange the momentum view's images between
            processes, so that batch norm does not give the answer away.
        neck, end_momentum, data_preprocessor, init_cfg: See
            :class:`MomentumSelfSupervisor`.
    """

    def __init__(
        self,
        backbone: dict,
        projector: dict,
        head: dict = dict(type='QueueContrastHead', temperature=0.2),
        correspondence: dict = dict(type='SimilarityCorrespondence'),
        queue_len: int = 65536,
        momentum: float = 0.999,
        loss_lambda: float = 0.5,
        shuffle_bn: bool = True,
        neck: Optional[dict] = None,
        end_momentum: Optional[float] = None,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Union[dict, list[dict], None] = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            projector=projector,
            head=head,
            neck=neck,
            momentum=momentum,
            end_momentum=end_momentum,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if not 0 <= loss_lambda <= 1:
            raise UserError(f'loss_lambda={loss_lambda} must lie in [0, 1]')
        if loss_lambda > 0 and not self.projector.with_dense:
            raise UserError(
                f'loss_lambda={loss_lambda} weighs the dense loss, but the '
                'projector has no dense branch: set with_dense=True, or '
                'loss_lambda=0 for MoCo v2'
            )
        freeze_unread(self.neck, (-1,))
        self.loss_lambda = loss_lambda
        self.shuffle_bn = shuffle_bn
        dim = self.projector.out_channels
        self.queue = FeatureQueue(queue_len, dim)
        if self.projector.with_dense:
            self.correspondence = build_part(correspondence)
            self.dense_queue = FeatureQueue(queue_len, dim)

    def encode(self, networks, view: Tensor) -> tuple[Tensor, DenseProjection]:
        """Last feature map (N, C, H, W) and projections of ``view``."""
        features = networks.backbone(view)
        if networks.neck is not None:
            features = networks.neck(features)
        return features[-1], networks.projector(features)

    @torch.no_grad()
    def encode_momentum(self, view: Tensor) -> tuple[Tensor, DenseProjection]:
        """Like :meth:`encode`, by the momentum copy, with shuffled BN.

        A map that no correspondence reads comes back with the samples of
        other processes in it.
        """
        shuffle = BatchShuffle(view.shape[0], view.device, self.shuffle_bn)
        features, projection = self.encode(self.momentum_encoder, shuffle.shuffle(view))
        if self.projector.with_dense and self.correspondence.needs_features:
            features = shuffle.unshuffle(features)
        # else their size alone is read, and they need not be sent back
        return features, DenseProjection._make(
            x if x is None else shuffle.unshuffle(x) for x in projection
        )

    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample], **kwargs
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs (list[Tensor]): Two views (N, 3, H, W): online, momentum.
            data_samples (list[DataSample]): Their ``view_boxes`` are read by
                a geometric correspondence only.

        Returns:
            dict: ``loss_global`` and ``loss_dense``, weighted; ``matched``,
            share of cells with a partner.
        """
        self.momentum_encoder.check_followed()
        self.check_views(inputs, 2)
        map_q, online = self.encode(self, inputs[0])
        map_k, target = self.encode_momentum(inputs[1])

        g_q, g_k = (F.normalize(x.global_, dim=1) for x in (online, target))
        loss_global = self.head.loss(g_q, g_k, self.negatives(self.queue))
        self.observe('feature', map_q)
        self.observe('image', g_q)
        self.observe('image_ranking', queue_ranking, g_q, g_k, self.queue.features)
        losses = dict(loss_global=(1 - self.loss_lambda) * loss_global)

        if online.dense is not None:
            assert target.dense is not None and target.pooled is not None
            self.check_cells([online.dense.shape[-2:]])
            match = self.correspond(map_q, map_k, online.dense, target.dense, data_samples)
            loss_dense = self.dense_loss(online.dense, target.dense, match)
            losses['loss_dense'] = self.loss_lambda * loss_dense
            losses['matched'] = match.valid.float().mean()
            self.dense_queue.enqueue(F.normalize(target.pooled, dim=1))
        self.queue.enqueue(g_k)
        return losses

    def correspond(
        self,
        map_q: Tensor,
        map_k: Tensor,
        dense_q: Tensor,
        dense_k: Tensor,
        data_samples: list[DataSample],
    ) -> Match:
        """Partner of each online cell, on the grid of the embeddings."""
        boxes: Sequence[Optional[Tensor]] = [None, None]
        if self.correspondence.needs_boxes:
            boxes = self.view_boxes(data_samples, map_q.device)
        # With `num_grid` the embeddings live on a pooled grid: so must these.
        map_q, map_k = (
            x
            if x.shape[-2:] == y.shape[-2:]
            else F.adaptive_avg_pool2d(x, (y.shape[2], y.shape[3]))
            for x, y in ((map_q, dense_q), (map_k, dense_k))
        )
        return self.correspondence.match(
            ViewMap(map_q.detach(), boxes[0]), ViewMap(map_k, boxes[1])
        )

    def dense_loss(self, dense_q: Tensor, dense_k: Tensor, match: Match) -> Tensor:
        """Mean InfoNCE over cells with a partner (DenseCL, eq. 2).

        Args:
            dense_q, dense_k (Tensor): Embeddings (N, D, H, W).
            match (Match): Partners of the cells of ``dense_q``.
        """
        d_q = F.normalize(dense_q.flatten(2), dim=1).transpose(1, 2)
        d_k = F.normalize(dense_k.flatten(2), dim=1).transpose(1, 2)
        positive = d_k.gather(1, match.index.unsqueeze(2).expand(-1, -1, d_k.shape[2]))
        query, positive, valid = d_q.flatten(0, 1), positive.flatten(0, 1), match.valid.flatten()
        self.observe('cell', dense_q)
        self.observe(
            'cell_ranking', queue_ranking, query, positive, self.dense_queue.features, valid
        )
        return self.head.loss(query, positive, self.negatives(self.dense_queue), valid)

    def negatives(self, queue: FeatureQueue) -> Tensor:
        """Keys (K, D), a copy if they change before the head is done."""
        keeps = getattr(self.head, 'keeps_queue', True)
        return queue.features.clone() if keeps else queue.features
