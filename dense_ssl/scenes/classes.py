"""The classes of the procedural scenes and how they map onto known layouts.

========  ===================  ===========  ======================
object    texture              COCO id      Cityscapes train id
========  ===================  ===========  ======================
disc      dots                 1            11 (person)
box       checker              2            13 (car)
triangle  stripes              3            14 (truck)
star      gradient             4            15 (bus)
ring      speckle              5            12 (rider)
cross     concentric waves     6            18 (bicycle)
========  ===================  ===========  ======================

==========  ==================  ===================
background  texture             Cityscapes train id
==========  ==================  ===================
road        fine grain          0 (road)
wall        bricks              3 (wall)
terrain     horizontal streaks  9 (terrain)
sky         smooth clouds       10 (sky)
==========  ==================  ===================

255 marks pixels to ignore. The train ids are those of Cityscapes' 19
classes, so that mmseg's ``CityscapesDataset`` and its palette are used as
they are; the classes that do not occur have no IoU and are left out of the
mean.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import textures

__all__ = ['THINGS', 'STUFF', 'IGNORE', 'thing_names', 'coco_categories']


class SceneClass(NamedTuple):
    """One class: its name, its texture and its Cityscapes train id."""

    name: str
    texture: Callable[..., np.ndarray]
    train_id: int


# objects, in the order of their COCO ids (index + 1)
THINGS = (
    SceneClass('disc', textures.dots, 11),
    SceneClass('box', textures.checker, 13),
    SceneClass('triangle', textures.stripes, 14),
    SceneClass('star', textures.gradient, 15),
    SceneClass('ring', textures.speckle, 12),
    SceneClass('cross', textures.waves, 18),
)

STUFF = dict(
    road=SceneClass('road', textures.grain, 0),
    wall=SceneClass('wall', textures.bricks, 3),
    terrain=SceneClass('terrain', textures.streaks, 9),
    sky=SceneClass('sky', textures.clouds, 10),
)

IGNORE = 255


def thing_names() -> tuple:
    """Names of the object classes, in the order of their COCO ids."""
    return tuple(c.name for c in THINGS)


def coco_categories() -> list:
    """The ``categories`` entry of the COCO annotation files."""
    return [dict(id=i + 1, name=c.name, supercategory='shape') for i, c in enumerate(THINGS)]
