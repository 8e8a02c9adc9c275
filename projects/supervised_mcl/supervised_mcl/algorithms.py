"""Montage pre-training from class labels."""

from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from dense_ssl.errors import UserError
from dense_ssl.models import MCL
from dense_ssl.models.algorithms.base import build_part, build_preprocessor
from dense_ssl.models.montage_embedding import embed_selected
from dense_ssl.models.montage_levels import MontageLevels
from dense_ssl.models.networks.fpn import freeze_unread
from dense_ssl.models.widths import follow, map_channels
from dense_ssl.registry import MODELS


def image_classes(
    data_samples: Sequence[DataSample], device: torch.device, num_classes: Optional[int] = None
) -> Tensor:
    """Class of each image, int64 (B, ).

    Raises:
        UserError: If a sample has no label, or one below 0 or beyond
            ``num_classes``.
    """
    if any('gt_label' not in s for s in data_samples):
        raise UserError(
            'the samples carry no class: use a data set with labels, one '
            "folder for each class, as dict(type='CustomDataset', "
            'data_root=DIR)'
        )
    classes = torch.cat([s.gt_label for s in data_samples])
    # The samples lie on the host, so this waits for nothing.
    if int(classes.min()) < 0:
        raise UserError(
            f'an image has the class {int(classes.min())}: classes count from '
            '0; leave images without one out of the data set'
        )
    if num_classes is not None and int(classes.max()) >= num_classes:
        raise UserError(
            f'an image is of class {int(classes.max())}, counted from 0, but '
            f'model.head.num_classes={num_classes}: set it to the number of '
            'class folders'
        )
    return classes.to(device, non_blocking=True)


@MODELS.register_module()
class SupervisedMCL(MCL):
    """MCL whose positives are all images of a cell's class.

    Args:
        head (dict): Defaults to ``SameClassContrastHead``.
        **kwargs: See :class:`dense_ssl.models.MCL`.
    """

    def __init__(self, *args, head: dict = dict(type='SameClassContrastHead'), **kwargs) -> None:
        super().__init__(*args, head=head, **kwargs)

    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample], **kwargs
    ) -> dict[str, Tensor]:
        """As MCL; ``data_samples`` carry ``gt_label``."""
        sides = self.assemble(inputs)
        classes = image_classes(data_samples, inputs[0].device)
        return self.contrast(*sides, classes=classes)


@MODELS.register_module()
class CellClassifier(BaseSelfSupervisor):
    """Classify each cell of the montages of all levels.

    One side of MCL: no momentum networks, no second set of views. The names
    in the checkpoint are MCL's, so all transfers work alike.

    Args:
        backbone, neck, region_head, ratios, shares, fpn_levels: See
            :class:`dense_ssl.models.MCL`.
        head (dict): A :class:`CellClassificationHead`.
        data_preprocessor (dict, optional): Defaults to
            ``DenseDataPreprocessor`` without normalisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        region_head: dict,
        head: dict,
        ratios: tuple = (1, 2, 4, 8),
        shares: tuple = (1, 1 / 4, 1 / 16, 1 / 32),
        fpn_levels: tuple = (3, 2, 1, 0),
        data_preprocessor: Union[dict, None] = None,
        init_cfg: Union[dict, list[dict], None] = None,
    ) -> None:
        body = build_part(backbone)
        super().__init__(
            backbone=body,
            neck=build_part(follow(neck, lambda: map_channels(body))),
            head=build_part(head),
            data_preprocessor=build_preprocessor(data_preprocessor),
            init_cfg=init_cfg,
        )
        self.region_head = build_part(
            follow(region_head, lambda: map_channels(body, self.neck)[-1])
        )
        self.levels = MontageLevels(ratios, shares, fpn_levels)
        freeze_unread(self.neck, fpn_levels)
        self.levels.check_weights(self.head)

    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample], **kwargs
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs (list[Tensor]): One view for each level, (B, 3, S, S) or
                of the size of a cell.
            data_samples (list[DataSample]): With ``gt_label``.

        Returns:
            dict: ``loss_level{l}`` and ``accuracy_level{l}``.
        """
        MCL.check_views(inputs, len(self.levels))
        classes = image_classes(data_samples, inputs[0].device, self.head.num_classes)
        side = self.levels(inputs)
        embeddings = embed_selected(self, self.levels, side)
        return self.head.loss(embeddings, [classes[y] for y in side.labels])
