"""What a config's pipeline cuts out of images, and which cells of it are pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from mmengine.config import Config
from torch import Tensor

from dense_ssl.datasets.image_reading import read_rgb
from dense_ssl.models.correspondence import GeometricCorrespondence, Match, ViewMap

from .correspondence import spread_cells
from .matches import cell_centre
from .networks import draw_views_of
from .style import COLORS, GREEN, bare_axes

__all__ = ['draw_views', 'view_pairs']

STRIDE = 32  # pixels of a cell of the last map


def view_pairs(
    boxes: Tensor, sizes: Sequence[tuple[int, int]], radius: float
) -> tuple[Match, Tensor]:
    """Nearest cell of the second view (1, Sa), and all pairs (1, Sa, Sb); boxes (2, 4)."""
    maps = [ViewMap(torch.empty(1, 1, *s), box[None].float()) for s, box in zip(sizes, boxes)]
    correspondence = GeometricCorrespondence(radius)
    return correspondence.match(*maps), correspondence.pairs(*maps)


def draw_views(cfg: Config, files: Sequence[str], seed: int = 0, max_lines: int = 8) -> Figure:
    """A row for each image: boxes of the views on it, and the views as networks get them.

    Of two views some positive pairs are joined, as the config's geometric correspondence, or one
    of radius 0.7, has them.
    """
    rows = [(read_rgb(f), *draw_views_of(cfg, f, seed=seed + i)) for i, f in enumerate(files)]
    columns = 1 + max(len(pictures) for _, pictures, _ in rows)
    figure = Figure(figsize=(1.9 * columns, 1.9 * len(rows) + 0.3), layout='constrained')
    grid = bare_axes(figure, len(rows), columns)
    radius = (cfg.model.get('correspondence') or {}).get('radius', 0.7)
    for line, (image, pictures, boxes) in zip(grid, rows):
        line[0].imshow(image)
        line[0].set_title('image')
        for index, (axes, picture, box) in enumerate(zip(line[1:], pictures, boxes.tolist())):
            color = COLORS[index % len(COLORS)]
            x1, y1, x2, y2 = _to_pixels(box, image)
            corner = min(x1, x2), min(y1, y2)
            line[0].add_patch(
                Rectangle(corner, abs(x2 - x1), abs(y2 - y1), fill=False, ec=color, lw=1.8)
            )
            axes.imshow(picture)
            height, width = picture.shape[:2]
            axes.add_patch(
                Rectangle((-0.5, -0.5), width, height, fill=False, ec=color, lw=3, clip_on=False)
            )
            axes.set_title(f'view {index + 1}' + (', flipped' if x1 > x2 else ''))
        if len(pictures) == 2:
            _join(figure, line[1:], pictures, boxes, radius, max_lines)
    return figure


def _to_pixels(box: Sequence[float], image: np.ndarray) -> list[float]:
    """View boxes run between centres of pixels, from 0 to 1."""
    height, width = image.shape[:2]
    return [value * (side - 1) for value, side in zip(box, (width, height) * 2)]


def _join(figure: Figure, line: Any, pictures: Sequence[np.ndarray], boxes, radius, most) -> None:
    sizes = [(p.shape[0] // STRIDE or 1, p.shape[1] // STRIDE or 1) for p in pictures]
    match, pairs = view_pairs(boxes, sizes, radius)
    line[1].set_title(f'{line[1].get_title()}: {int(pairs.sum())} pairs')
    for cell in spread_cells(match.valid[0].nonzero().flatten().tolist(), sizes[0][1], most):
        other = int(match.index[0, cell])
        here, there = (
            cell_centre(axes, c, size) for axes, c, size in zip(line, (cell, other), sizes)
        )
        for axes, end in zip(line, (here, there)):
            axes.plot(*end, 'o', ms=3.5, mfc=GREEN, mec='white', mew=0.6)
        patch = ConnectionPatch(
            here, there, 'data', 'data', axesA=line[0], axesB=line[1], color=GREEN, lw=1.1
        )
        figure.add_artist(patch)
