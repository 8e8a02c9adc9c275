"""Channels of the maps that networks give, found out without computing them."""

from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dense_ssl.errors import UserError

__all__ = ['check_widths', 'follow', 'map_channels', 'map_shapes']

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


def map_channels(*networks: nn.Module, in_channels: int = 3) -> list[int]:
    """Channels of the maps that ``networks``, one after the other, give.

    Raises:
        UserError: They cannot be asked, or give vectors.
    """
    kinds = ' and '.join(type(network).__name__ for network in networks)
    shapes = map_shapes(nn.Sequential(*networks), in_channels)
    if shapes is None:
        raise UserError(
            f'the channels of the maps of {kinds} cannot be found out: set in_channels of the '
            'networks that read them (model.projector, model.neck, model.region_head)'
        )
    if any(len(shape) != 4 for shape in shapes):
        raise UserError(
            f'model.backbone ({kinds}) gives vectors, not maps {shapes}: of ConvNeXt set '
            "gap_before_final_norm=False, of a transformer out_type='featmap'"
        )
    return [shape[1] for shape in shapes]


def follow(cfg: Any, channels: Callable[[], Union[int, list[int]]]) -> Any:
    """``cfg`` with the channels that it is given, where it has ``in_channels=None``.

    Args:
        cfg: Of a network, or None, or a network that is built already.
        channels: Gives the number, or for several maps all of them; asked only if need be.
    """
    if isinstance(cfg, dict) and 'in_channels' in cfg and cfg['in_channels'] is None:
        return {**cfg, 'in_channels': channels()}
    return cfg


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
    if not wanted or map_shapes(backbone, in_channels) is None:
        return
    given = map_channels(backbone, in_channels=in_channels)
    several = isinstance(wanted, Sequence)
    fits = list(wanted) == given if several else wanted in given
    if not fits:
        raise UserError(
            f'model.{name} takes maps of {wanted} channels, model.backbone '
            f'({type(backbone).__name__}) gives {given}: set model.{name}.in_channels='
            f'{given if several else given[-1]}, or None to follow the backbone'
        )
