"""PixContrast and PixPro: pretext tasks on pairs of cells."""

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.former import old_arguments
from dense_ssl.registry import MODELS

from ..correspondence import ViewMap
from ..diagnostics import pair_ranking
from ..losses import positive_cosine, unit_cells
from ..networks.fpn import freeze_unread
from ..widths import follow
from .base import MomentumSelfSupervisor, build_part


class Encoding(NamedTuple):
    """What the networks make of one view.

    Attributes:
        features (Sequence[Tensor]): Maps before the projector, one a level.
        cells (list[Tensor]): Their projections (N, D, H, W).
        image (Tensor, optional): Projection (N, D, H, W) of the instance
            branch.
    """

    features: Sequence[Tensor]
    cells: list[Tensor]
    image: Optional[Tensor] = None


@MODELS.register_module()
class PixContrast(MomentumSelfSupervisor):
    """Contrast between the cells of two views (arXiv 2011.10043, sec. 3.1).

    Cells that lie on the same spot of the image attract each other, all
    others of the image repel. Both views pass through the online networks,
    one after the other, and each is compared with the momentum cells of the
    other. The loss is taken on the backbone's last map, or on levels of a
    feature neck, or through the towers of a dense detector on these levels
    (sec. 3.4), and averaged over the maps.

    Args:
        backbone (dict): Gives a tuple of maps (N, C, H, W), fine to coarse.
        projector (dict): A :class:`PixelProjector` for as many maps as there
            are levels, twice as many with a tower.
        head (dict): Loss of online and momentum cells and their pairs.
            Defaults to ``PixelContrastHead`` with temperature 0.3.
        correspondence (dict): Which cells are pairs. Defaults to
            ``GeometricCorrespondence`` with radius 0.7.
        neck (dict, optional): Feature neck, e.g. ``mmdet.FPN``.
        tower (dict, optional): A :class:`DenseTower` on the levels.
        levels (Sequence[int]): Which maps of backbone or neck are used.
            Defaults to the last.
        max_grid (int, optional): Maps with a longer side are average-pooled
            until it fits: pairs grow with the fourth power of the side.
        momentum (float): Weight of the old value. Defaults to 0.99.
        end_momentum (float, optional): At the end, by cosine. Defaults to 1.
        extra_networks, first_step, data_preprocessor, init_cfg: See
            :class:`MomentumSelfSupervisor`.
    """

    @old_arguments(more_networks='extra_networks')
    def __init__(
        self,
        backbone: dict,
        projector: dict,
        head: dict = dict(type='PixelContrastHead', temperature=0.3),
        correspondence: dict = dict(type='GeometricCorrespondence', radius=0.7),
        tower: Optional[dict] = None,
        levels: Sequence[int] = (-1,),
        max_grid: Optional[int] = None,
        momentum: float = 0.99,
        end_momentum: Optional[float] = 1.0,
        extra_networks: Optional[dict[str, Optional[dict]]] = None,
        neck: Optional[dict] = None,
        first_step: int = 1,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Union[dict, list[dict], None] = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            projector=projector,
            head=head,
            neck=neck,
            extra_networks=dict(tower=tower, **(extra_networks or {})),
            momentum=momentum,
            end_momentum=end_momentum,
            first_step=first_step,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.correspondence = build_part(correspondence)
        self.levels = tuple(levels)
        freeze_unread(self.neck, self.levels)
        if max_grid is not None and max_grid < 1:
            raise UserError(f'max_grid={max_grid} must be 1 or more')
        self.max_grid = max_grid

    def encode(self, networks, view: Tensor) -> Encoding:
        """One view through the online or the momentum networks."""
        maps = networks.backbone(view)
        if networks is self:
            self.observe('feature', maps[-1])
        return self.encode_maps(networks, maps)

    def encode_maps(self, networks, maps: Sequence[Tensor]) -> Encoding:
        """From the backbone's maps to the projections."""
        if networks.neck is not None:
            maps = networks.neck(maps)
        maps = [self.fit_grid(maps[i]) for i in self.levels]
        if networks.tower is not None:
            maps = networks.tower(maps)
        return Encoding(maps, networks.projector(maps))

    def fit_grid(self, x: Tensor) -> Tensor:
        """Pool a map (N, C, H, W) to at most ``max_grid`` cells a side."""
        height, width = x.shape[-2:]
        if self.max_grid is None or max(height, width) <= self.max_grid:
            return x
        stride = -(-max(height, width) // self.max_grid)
        return F.adaptive_avg_pool2d(x, (max(1, height // stride), max(1, width // stride)))

    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample], **kwargs
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs (list[Tensor]): Two views (N, 3, H, W).
            data_samples (list[DataSample]): With ``view_boxes`` (2, 4).

        Returns:
            dict: ``loss_pixel`` and, with an instance branch,
            ``loss_instance``; for the log, averaged over the levels:
            ``positive_pairs`` an image, ``no_overlap``, the share of images
            without any, and ``positive_cosine``, their mean cosine.
        """
        self.momentum_encoder.check_followed()
        self.check_views(inputs, 2)
        boxes: Sequence[Optional[Tensor]] = [None, None]
        if self.correspondence.needs_boxes:
            boxes = self.view_boxes(data_samples, inputs[0].device)
        # View by view, as batch norm is to see them.
        online = [self.encode(self, view) for view in inputs]
        with torch.no_grad():
            target = [self.encode(self.momentum_encoder, view) for view in inputs]
        return self.compare(online, target, boxes)

    def compare(
        self, online: list[Encoding], target: list[Encoding], boxes: Sequence[Optional[Tensor]]
    ) -> dict[str, Tensor]:
        """Losses of both directions, from the encodings of both views."""
        self.check_cells(x.shape[-2:] for x in online[0].features)
        predicted = [[self.predict(x) for x in view.cells] for view in online]
        self.observe('cell', online[0].cells[0])
        outcomes = []
        for a, b in ((0, 1), (1, 0)):
            for level, cells in enumerate(target[b].cells):
                positive = self.correspondence.pairs(
                    ViewMap(online[a].features[level].detach(), boxes[a]),
                    ViewMap(target[b].features[level], boxes[b]),
                )
                outcomes.append(self.compare_level(predicted[a][level], cells, positive))
        values = {key: torch.stack([o[key] for o in outcomes]) for key in outcomes[0]}
        losses = {key: value.mean() for key, value in values.items()}
        # The sum of the directions, of the levels the mean.
        losses['loss_pixel'] = values['loss_pixel'].sum() / len(online[0].cells)
        return losses

    def compare_level(self, online: Tensor, target: Tensor, positive: Tensor) -> dict[str, Tensor]:
        """Loss and statistics of one level, in one direction."""
        online, target = unit_cells(online), unit_cells(target)
        loss = self.head.loss(online, target, positive)
        self.observe('cell_ranking', pair_ranking, online, target, positive)
        with torch.no_grad():
            count = positive.sum((1, 2))
            overlap = count > 0
            cosine = positive_cosine(online, target, positive)
            return dict(
                loss_pixel=loss,
                positive_pairs=count.float().mean(),
                no_overlap=1 - overlap.float().mean(),
                positive_cosine=cosine.sum() / overlap.sum().clamp(min=1),
            )

    def predict(self, cells: Tensor) -> Tensor:
        """What is compared with the other view's momentum cells."""
        return cells


@MODELS.register_module()
class PixPro(PixContrast):
    """Pixel-to-propagation consistency (arXiv 2011.10043, sec. 3.2 and 3.3).

    As :class:`PixContrast`, but the online cells are smoothed by a
    propagation module first, and only the positives count: there are no
    negatives. With an instance branch the images as a whole are compared,
    too (in the form of the released code, without negatives).

    Args:
        propagation (dict): A :class:`PixelPropagation`, shared by the levels.
        head (dict): Defaults to ``PixelConsistencyHead``. An instance branch
            wants an ``image_loss`` of it.
        instance_projector (dict, optional): A :class:`PixelProjector` of the
            backbone's last map. None (default): no instance branch.
        instance_predictor (dict, optional): A :class:`PixelProjector` of its
            output, online only.
        instance_weight (float): alpha, its weight. Defaults to 1.
        backbone, projector, correspondence, neck, tower, levels, max_grid,
            momentum, end_momentum, first_step, data_preprocessor, init_cfg:
            See :class:`PixContrast`.
    """

    reads_backbone = ('instance_projector',)

    def __init__(
        self,
        backbone: dict,
        projector: dict,
        propagation: dict,
        head: dict = dict(type='PixelConsistencyHead'),
        instance_projector: Optional[dict] = None,
        instance_predictor: Optional[dict] = None,
        instance_weight: float = 1.0,
        correspondence: dict = dict(type='GeometricCorrespondence', radius=0.7),
        neck: Optional[dict] = None,
        tower: Optional[dict] = None,
        levels: Sequence[int] = (-1,),
        max_grid: Optional[int] = None,
        momentum: float = 0.99,
        end_momentum: Optional[float] = 1.0,
        first_step: int = 1,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Union[dict, list[dict], None] = None,
    ) -> None:
        if (instance_projector is None) != (instance_predictor is None):
            raise UserError(
                'instance_projector and instance_predictor form '
                'the instance branch: set both, or none'
            )
        super().__init__(
            backbone=backbone,
            projector=projector,
            head=head,
            correspondence=correspondence,
            neck=neck,
            tower=tower,
            levels=levels,
            max_grid=max_grid,
            extra_networks=dict(instance_projector=instance_projector),
            momentum=momentum,
            end_momentum=end_momentum,
            first_step=first_step,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if instance_weight < 0:
            raise UserError(f'instance_weight={instance_weight} must not be negative')
        if instance_projector is not None and not hasattr(self.head, 'image_loss'):
            raise UserError(
                f'{type(self.head).__name__} has no image_loss, which the instance branch '
                'needs: use PixelConsistencyHead, or leave instance_projector out'
            )
        self.propagation = build_part(follow(propagation, lambda: self.projector.out_channels))
        self.instance_predictor = build_part(
            follow(instance_predictor, lambda: self.instance_projector.out_channels)
        )
        self.instance_weight = instance_weight

    def encode_maps(self, networks, maps: Sequence[Tensor]) -> Encoding:
        """As for PixContrast, and the instance branch's projection."""
        encoding = super().encode_maps(networks, maps)
        if networks.instance_projector is None:
            return encoding
        return encoding._replace(image=networks.instance_projector(maps[-1]))

    def predict(self, cells: Tensor) -> Tensor:
        """Propagated cells."""
        return self.propagation(cells)

    def compare(
        self, online: list[Encoding], target: list[Encoding], boxes: Sequence[Optional[Tensor]]
    ) -> dict[str, Tensor]:
        """As for PixContrast, and the loss of the instance branch."""
        losses = super().compare(online, target, boxes)
        if self.instance_predictor is not None:
            losses['loss_instance'] = self.instance_weight * sum(
                self.head.image_loss(self.instance_predictor(online[a].image), target[b].image)
                for a, b in ((0, 1), (1, 0))
            )
        return losses
