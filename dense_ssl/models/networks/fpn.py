"""mmdet's feature pyramid without mmdet, and a way to run part of one."""

from collections.abc import Sequence
from typing import Any, Union

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS


@MODELS.register_module()
class FPN(BaseModule):
    """Feature pyramid network (arXiv 1612.03144), as many maps out as in.

    Structure, names and initialisation are those of ``mmdet.FPN``, so that
    its weights load there, and pre-training can do without mmdet.

    Args:
        in_channels (Sequence[int]): Channels of the maps, finest first.
        out_channels (int): Channels of all output maps.
        norm_cfg (dict, optional): Norm of laterals and outputs.
        act_cfg (dict, optional): Activation of the same. Defaults to none.
    """

    start_level = 0

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        norm_cfg: Union[dict, None] = None,
        act_cfg: Union[dict, None] = None,
        init_cfg: Union[dict, list, None] = dict(
            type='Xavier', layer='Conv2d', distribution='uniform'
        ),
    ) -> None:
        super().__init__(init_cfg)
        options = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
        self.upsample_cfg: dict[str, Any] = dict(mode='nearest')
        self.lateral_convs = nn.ModuleList(
            ConvModule(c, out_channels, 1, **options) for c in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **options) for _ in in_channels
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, C_i, H_i, W_i), finest first -> (N, C, H_i, W_i)."""
        if len(inputs) != len(self.lateral_convs):
            raise UserError(
                f'the backbone gives {len(inputs)} maps, the FPN takes '
                f'{len(self.lateral_convs)}: make out_indices of the backbone '
                'and in_channels of the neck agree'
            )
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, inputs)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = top_down(self, laterals[i], laterals[i - 1])
        return tuple(conv(x) for conv, x in zip(self.fpn_convs, laterals))


def freeze_unread(fpn: Any, levels: Sequence[int]) -> None:
    """Take convolutions that no level reads out of training.

    They would never get a gradient, which DistributedDataParallel refuses.

    Args:
        fpn (nn.Module): ``FPN`` or ``mmdet.FPN``; others are left alone.
        levels (Sequence[int]): Output maps that are read, finest is 0,
            coarsest -1.

    Raises:
        UserError: A level that the FPN does not have.
    """
    if not (hasattr(fpn, 'lateral_convs') and hasattr(fpn, 'fpn_convs')):
        return
    laterals = len(fpn.lateral_convs)
    outputs = getattr(fpn, 'num_outs', laterals)
    if not all(-outputs <= level < outputs for level in levels):
        raise UserError(f'levels={tuple(levels)}: the FPN has {outputs} maps, 0 to {outputs - 1}')
    read = {level % outputs for level in levels}
    lowest = min(read)
    if max(read) >= laterals:  # maps beyond the backbone's, each from the last
        source = getattr(fpn, 'add_extra_convs', False) or 'on_output'
        read |= set(range(laterals, max(read)))
        if source == 'on_output':
            read.add(laterals - 1)
        if source != 'on_input':
            lowest = min(lowest, laterals - 1)
    for i, conv in enumerate(fpn.lateral_convs):
        conv.requires_grad_(i >= lowest)
    for i, conv in enumerate(fpn.fpn_convs):
        conv.requires_grad_(i in read)


def top_down(fpn: FPN, coarse: Tensor, fine: Tensor) -> Tensor:
    """``fine`` plus ``coarse`` at its size."""
    cfg = fpn.upsample_cfg
    if 'scale_factor' not in cfg:
        cfg = dict(cfg, size=fine.shape[-2:])
    return fine + F.interpolate(coarse, **cfg)


def pyramid_sections(
    fpn: FPN, inputs: Sequence[Tensor], sections: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Different output maps for different parts of the batch.

    On the way down the pyramid a part leaves at its own map: finer laterals
    and other outputs never see it. With norm statistics fixed the results
    equal slices of the full outputs.

    Args:
        fpn (FPN): This module's, or mmdet's.
        inputs (Sequence[Tensor]): The backbone's maps (N, C_i, H_i, W_i),
            finest first.
        sections (Sequence[tuple]): (output map, images) in the order of the
            batch; output maps descend, 0 is the finest.

    Returns:
        list[Tensor]: (images, C, H_i, W_i) of each section.
    """
    outputs = []
    wanted = dict(sections)
    done, coarse = 0, None
    for i in reversed(range(len(fpn.lateral_convs))):
        x = fpn.lateral_convs[i](inputs[fpn.start_level + i][done:])
        if coarse is not None:
            x = top_down(fpn, coarse, x)
        if i in wanted:
            count = wanted[i]
            outputs.append(fpn.fpn_convs[i](x[:count]))
            x = x[count:]
            done += count
        if len(outputs) == len(wanted):
            return outputs
        coarse = x
    raise UserError(
        f'output maps {[s[0] for s in sections]} are not among '
        f'the {len(fpn.lateral_convs)} of the FPN, in '
        'descending order'
    )
