"""Embed montages level by level: only what is read, or everything.

``networks`` is anything with a ``backbone``, a ``neck`` (an FPN) and a
``region_head``: the algorithm, or its momentum copy. ``maps`` are those of the
backbone, where they are at hand.
"""

from collections.abc import Sequence
from typing import Optional

from torch import Tensor

from .montage_levels import MontageLevels, Montages
from .networks.fpn import pyramid_sections


def embed_selected(
    networks, levels: MontageLevels, montages: Montages, maps: Optional[Sequence[Tensor]] = None
) -> list[Tensor]:
    """Embed each level's montages on the level's own map.

    All levels share one pass of the backbone. From the FPN on, a level's
    montages visit only what their own map depends on.

    Returns:
        list[Tensor]: Cell embeddings (M_l * ratio_l^2, D) of each level.
    """
    maps = networks.backbone(montages.images) if maps is None else maps
    sections = list(zip(levels.fpn_levels, montages.counts))
    maps = pyramid_sections(networks.neck, maps, sections)
    return [networks.region_head(x, ratio) for x, ratio in zip(maps, levels.ratios)]


def embed_plain(networks, levels: MontageLevels, montages: Montages) -> Tensor:
    """Embed the plain images of level 0 only: (B, D)."""
    count = montages.counts[0]
    maps = networks.backbone(montages.images[:count])
    (top,) = pyramid_sections(networks.neck, maps, [(levels.fpn_levels[0], count)])
    return networks.region_head(top)


def embed_everything(
    networks, levels: MontageLevels, montages: Montages, maps: Optional[Sequence[Tensor]] = None
) -> list[Tensor]:
    """Embed every image on every map, then keep what is read.

    What the released code computes, for its batch-norm statistics: FPN and
    region head see all levels' images on every map (algorithmically useless,
    3.9 times the work). The head runs map after map, finest first.

    Returns:
        list[Tensor]: As :func:`embed_selected`.
    """
    maps = networks.neck(networks.backbone(montages.images) if maps is None else maps)
    kept: list[Tensor] = []
    end = len(montages.images)
    for level in reversed(range(len(levels))):
        ratio, count = levels.ratios[level], montages.counts[level]
        embedded = networks.region_head(maps[levels.fpn_levels[level]], ratio)
        kept.append(embedded[(end - count) * ratio**2 : end * ratio**2])
        end -= count
    return kept[::-1]
