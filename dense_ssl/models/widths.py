"""Whether a network takes the maps that the backbone gives, found out without computing them."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dense_ssl.errors import UserError

__all__ = ['check_widths', 'map_shapes']

#: Pixels a side of the image that is imagined.
SIDE = 224


def map_shapes(backbone: nn.Module, in_channels: int = 3) -> Optional[list[tuple[int, ...]]]:
    """Shapes of what ``backbone`` gives for an image (1, in_channels, 224, 224).

    Nothing is computed, and no statistic moves.

    Returns:
        One shape a map; None for a backbone that cannot be asked this way.
    """
    training = backbone.training
    backbone.eval()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            maps = backbone(torch.empty(1, in_channels, SIDE, SIDE))
    except Exception:  # it wants another size, or code that only real numbers run through
        return None
    finally:
        backbone.train(training)
    maps = [maps] if isinstance(maps, Tensor) else maps
    if not isinstance(maps, (list, tuple)) or not all(isinstance(x, Tensor) for x in maps):
        return None
    return [tuple(x.shape) for x in maps]


def check_widths(backbone: nn.Module, in_channels: int, name: str, cfg: Any) -> None:
    """Compare the backbone's maps with the network that reads them.

    Args:
        backbone: Gives a tuple of maps (N, C, H, W).
        in_channels: Of its images.
        name: Of the network that reads the maps, as the config has it.
        cfg: Its config; one without ``in_channels`` is not looked at.

    Raises:
        UserError: The maps have other channels, or are vectors; names the key to set.
    """
    wanted: Any = cfg.get('in_channels') if isinstance(cfg, dict) else None
    shapes = map_shapes(backbone, in_channels) if wanted else None
    if not shapes:
        return
    kind = type(backbone).__name__
    if any(len(shape) != 4 for shape in shapes):
        raise UserError(
            f'model.backbone ({kind}) gives vectors, not maps {shapes}: of ConvNeXt set '
            "gap_before_final_norm=False, of a transformer out_type='featmap'"
        )
    given = [shape[1] for shape in shapes]
    several = isinstance(wanted, Sequence)
    fits = list(wanted) == given if several else wanted in given
    if not fits:
        raise UserError(
            f'model.{name} takes maps of {wanted} channels, model.backbone ({kind}) gives {given}: '
            f'set model.{name}.in_channels={given if several else given[-1]}'
        )
