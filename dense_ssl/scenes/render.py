"""One procedural scene: an image with its instance masks and label map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np

from dense_ssl.errors import UserError

from .classes import IGNORE, STUFF, THINGS
from .shapes import OUTLINES, coverage
from .textures import two_colours, value_noise

__all__ = ['Scene', 'Instance', 'render_scene']

# an object of which less than this is left visible is taken out of the
# scene altogether: nobody could name its class
MIN_VISIBLE = 0.35
MIN_AREA_FRACTION = 0.0025


@dataclass
class Instance:
    """A visible object: index of its class and its visible mask.

    ``mask`` is bool (H, W); masks of one scene are disjoint.
    """

    label: int
    mask: np.ndarray


@dataclass
class Scene:
    """A rendered scene.

    Attributes:
        image: uint8 (H, W, 3), BGR as cv2 writes it.
        instances: Visible objects, from the rearmost to the foremost.
        semantic: uint8 (H, W) Cityscapes train ids, 255 on the anti-aliased
            outline of objects, where a pixel belongs to two classes.
    """

    image: np.ndarray
    instances: list[Instance]
    semantic: np.ndarray


@dataclass
class _Object:
    label: int
    alpha: np.ndarray
    inverse: np.ndarray  # (2, 3): pixels -> local units


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = np.arange(size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def _mix(field: np.ndarray, colours: np.ndarray) -> np.ndarray:
    field = field[..., None]
    return (1 - field) * colours[0] + field * colours[1]


def _background(rng, size):
    """Backdrop above a slanted horizon, ground below it."""
    x, y = _grid(size)
    slant = np.tan(rng.uniform(-0.2, 0.2))
    horizon = rng.uniform(0.25, 0.7) * size + slant * (x - size / 2)
    if rng.random() < 0.15:  # one background only
        horizon = horizon + rng.choice([-2, 2]) * size
    below = y > horizon
    upper = STUFF['sky' if rng.random() < 0.5 else 'wall']
    lower = STUFF['road' if rng.random() < 0.5 else 'terrain']
    image = np.empty((size, size, 3), np.float32)
    semantic = np.empty((size, size), np.uint8)
    for stuff, region in ((upper, ~below), (lower, below)):
        colours = two_colours(rng, contrast=45)
        if region.any():
            field = stuff.texture(rng, x / size, y / size)
            image[region] = _mix(field, colours)[region]
            semantic[region] = stuff.train_id
    return image, semantic


def _place(rng, size, label, radius_range) -> _Object:
    """An object of a class in random pose: turned, stretched, shifted."""
    radius = size * rng.uniform(*radius_range)
    angle = rng.uniform(0, 2 * np.pi)
    stretch = np.diag([radius * rng.uniform(0.8, 1.2), radius * rng.uniform(0.8, 1.2)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.empty((2, 3))
    matrix[:, :2] = turn @ stretch
    matrix[:, 2] = rng.uniform(0.08 * size, 0.92 * size, 2)
    outline = OUTLINES[THINGS[label].name]()
    return _Object(label, coverage(outline, matrix, size), cv2.invertAffineTransform(matrix))


def _visible(objects: list[_Object]) -> list[np.ndarray]:
    """Disjoint visible masks of objects given from rear to front."""
    masks = []
    taken = np.zeros_like(objects[0].alpha, dtype=bool)
    for obj in reversed(objects):
        solid = obj.alpha >= 128
        masks.append(solid & ~taken)
        taken |= solid
    return masks[::-1]


def _drop_hidden(objects: list[_Object], size: int) -> list[_Object]:
    """Take out objects that are too small or nearly hidden.

    One object at a time, because taking one out uncovers others.
    """
    while objects:
        kept = None
        for i, mask in enumerate(_visible(objects)):
            area = mask.sum()
            whole = max(1, (objects[i].alpha >= 128).sum())
            if area < max(9, MIN_AREA_FRACTION * size * size) or area < MIN_VISIBLE * whole:
                kept = objects[:i] + objects[i + 1 :]
                break
        if kept is None:
            return objects
        objects = kept
    return objects


def _paint(rng, image: np.ndarray, obj: _Object) -> None:
    """Blend an object into the image, texture in its own coordinates."""
    x0, y0, w, h = cv2.boundingRect(obj.alpha)
    window = np.s_[y0 : y0 + h, x0 : x0 + w]
    x, y = np.meshgrid(
        np.arange(x0, x0 + w, dtype=np.float32), np.arange(y0, y0 + h, dtype=np.float32)
    )
    m = obj.inverse.astype(np.float32)
    u = m[0, 0] * x + m[0, 1] * y + m[0, 2]
    v = m[1, 0] * x + m[1, 1] * y + m[1, 2]
    field = THINGS[obj.label].texture(rng, u, v)
    colour = _mix(field, two_colours(rng, contrast=80))
    alpha = (obj.alpha[window] / np.float32(255))[..., None]
    image[window] = (1 - alpha) * image[window] + alpha * colour


def _photograph(rng, image: np.ndarray) -> np.ndarray:
    """What a camera adds: uneven light, slight blur, sensor noise."""
    size = image.shape[0]
    x, y = _grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(angle) * x + np.sin(angle) * y) / size - 0.5
    light = 1 + rng.uniform(0, 0.35) * slope
    light += 0.25 * (value_noise(rng, image.shape[:2], (3, 3)) - 0.5)
    image = image * light[..., None]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    image += rng.uniform(1, 5) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def render_scene(
    seed: Sequence[int],
    size: int = 128,
    labels: Optional[Sequence[int]] = None,
    radius_range: tuple[float, float] = (0.1, 0.26),
    grey: bool = False,
) -> Scene:
    """Render the scene that belongs to a seed.

    Args:
        seed: Integers that name the scene, e.g. ``[seed, split, index]``;
            equal seeds give equal scenes.
        size: Side of the square image in pixels, at least 32.
        labels: Class indices of the objects to place, from rear to front;
            two to six random ones if omitted.
        radius_range: Smallest and largest object radius over ``size``.
        grey: Without colours. They tell no class, but which scene it is: methods that tell images
            apart look at nothing else.

    Returns:
        Scene: Image, visible instances and label map. Objects that would be
        nearly hidden are left out, so there may be fewer than ``labels``.

    Raises:
        UserError: If ``size`` is below 32.
    """
    if size < 32:
        raise UserError(f'scenes need a size of at least 32 px, got {size}')
    rng = np.random.default_rng(list(seed))
    image, semantic = _background(rng, size)
    if labels is None:
        labels = rng.integers(0, len(THINGS), rng.integers(2, 7)).tolist()
    objects = [_place(rng, size, i, radius_range) for i in labels]
    objects = _drop_hidden(objects, size)

    instances = []
    for obj in objects:
        _paint(rng, image, obj)
    for obj, mask in zip(objects, _visible(objects) if objects else ()):
        semantic[mask] = THINGS[obj.label].train_id
        instances.append(Instance(obj.label, mask))
    for i, obj in enumerate(objects):
        edge = (obj.alpha > 0) & (obj.alpha < 255)
        for front in objects[i + 1 :]:
            edge &= front.alpha < 255  # hidden edges are no edges
        semantic[edge] = IGNORE
    image = _photograph(rng, image)
    if grey:
        image = image.mean(axis=2, keepdims=True).round().astype(np.uint8).repeat(3, axis=2)
    return Scene(image, instances, semantic)
