"""Which spots of two pictures a network takes for the same."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Polygon
from torch import Tensor

from dense_ssl.models.correspondence import SimilarityCorrespondence, ViewMap

from .correspondence import correct_matches, spread_cells
from .networks import PretrainedNetwork
from .style import BLUE, GREEN, GREY, RED, bare_axes

__all__ = ['Matches', 'cell_centre', 'draw_matches', 'find_matches']


class Matches(NamedTuple):
    """Nearest cells of two maps, with a truth where there are view boxes.

    Attributes:
        index (Tensor): Nearest cell of the second map, int64 (Sa, ).
        mutual (Tensor): Whether that one's nearest is this cell, bool (Sa, ).
        right (Tensor, optional): Whether it lies on the same spot, bool (Sa, ).
        possible (Tensor, optional): Whether there is such a cell, bool (Sa, ).
    """

    index: Tensor  # type: ignore[assignment]  # a tuple's method of that name
    mutual: Tensor
    right: Optional[Tensor] = None
    possible: Optional[Tensor] = None

    @property
    def pck(self) -> float:
        """Share of right matches among the cells that have a counterpart."""
        assert self.right is not None and self.possible is not None
        return float(self.right[self.possible].float().mean()) if self.possible.any() else 0.0


def find_matches(a: Tensor, b: Tensor, boxes: Optional[Tensor] = None) -> Matches:
    """Match maps (C, h, w) by cosine, as DenseCL does; ``boxes`` (2, 4) give the truth."""
    there, back = (
        SimilarityCorrespondence().match(ViewMap(x[None]), ViewMap(y[None])).index[0]
        for x, y in ((a, b), (b, a))
    )
    mutual = back[there] == torch.arange(len(there))
    if boxes is None:
        return Matches(there, mutual)
    size_a, size_b = ((x.shape[-2], x.shape[-1]) for x in (a, b))
    truth = correct_matches(there[None], boxes[:1], boxes[1:], size_a, size_b)
    return Matches(there, mutual, *(x[0] for x in truth))


def draw_matches(
    pairs: Sequence[tuple[np.ndarray, np.ndarray, Optional[Tensor]]],
    networks: Sequence[PretrainedNetwork],
    max_lines: int = 12,
) -> Figure:
    """Mutual nearest neighbours of each pair (a row), by each network (a column).

    Args:
        pairs: Two pictures (H, W, 3), and their view boxes (2, 4) if they are views of one image:
            then their overlap is framed, and titles say PCK, the share of cells in the overlap
            whose nearest lies within 0.7 cells of the right spot.
        networks: E.g. one of random weights beside a trained one.
        max_lines: Matches drawn, spread over the picture.
    """
    columns = 2 * len(networks)
    tallest = max(x.shape[0] / x.shape[1] for a, b, _ in pairs for x in (a, b))
    size = (2.1 * columns, (2.1 * tallest + 0.3) * len(pairs))
    figure = Figure(figsize=size, layout='constrained')
    grid = bare_axes(figure, len(pairs), columns)
    for row, (a, b, boxes) in zip(grid, pairs):
        for left, right, network in zip(row[::2], row[1::2], networks):
            maps = network.cells(a), network.cells(b)
            found = find_matches(*maps, boxes)
            left.imshow(a)
            right.imshow(b)
            left.set_title(_title(network.name, found), loc='left')
            _join(figure, left, right, maps, found, max_lines)
            if boxes is not None:
                _frame_overlap(left, a, boxes[0], boxes[1])
                _frame_overlap(right, b, boxes[1], boxes[0])
    return figure


def _title(name: str, found: Matches) -> str:
    count = f'{int(found.mutual.sum())} mutual matches'
    if found.possible is None:
        return f'{name}: {count}'
    if not found.possible.any():
        return f'{name}: no overlap'
    return f'{name}: PCK {100 * found.pck:.0f} %, {count}'


def _join(figure: Figure, left: Any, right: Any, maps, found: Matches, most: int) -> None:
    wanted = found.mutual if found.possible is None else found.mutual & found.possible
    (ha, wa), (hb, wb) = (x.shape[-2:] for x in maps)
    for cell in spread_cells(wanted.nonzero().flatten().tolist(), wa, most):
        color = BLUE if found.right is None else GREEN if found.right[cell] else RED
        ends = [
            cell_centre(axes, c, size)
            for axes, c, size in ((left, cell, (ha, wa)), (right, int(found.index[cell]), (hb, wb)))
        ]
        # right ones are whole lines, so that colour is not all that tells them
        line = '-' if found.right is None or found.right[cell] else (0, (2, 1.5))
        for axes, end in zip((left, right), ends):
            axes.plot(*end, 'o', ms=3.5, mfc=color, mec='white', mew=0.6)
        figure.add_artist(
            ConnectionPatch(
                ends[0], ends[1], 'data', 'data', axesA=left, axesB=right,
                color=color, lw=1.1, linestyle=line,
            )
        )  # fmt: skip


def cell_centre(axes: Any, cell: int, size: tuple[int, int]) -> tuple[float, float]:
    """Centre of a cell of a map of ``size`` (h, w), in pixels of the picture shown there."""
    height, width = axes.images[0].get_array().shape[:2]
    row, column = divmod(cell, size[1])
    return (column + 0.5) / size[1] * width - 0.5, (row + 0.5) / size[0] * height - 0.5


def _frame_overlap(axes: Any, picture: np.ndarray, own: Tensor, other: Tensor) -> None:
    """Dashed: the part of a view that the other shows, too."""
    height, width = picture.shape[:2]
    x, y = (
        (_common(own[i::2], other[i::2]) - float(own[i])) / float(own[i + 2] - own[i]) * (side - 1)
        for i, side in ((0, width), (1, height))
    )
    if len(x) and len(y):
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        axes.add_patch(Polygon(corners, fill=False, ec='white', lw=2.4))
        axes.add_patch(Polygon(corners, fill=False, ec=GREY, lw=1.2, ls='--'))


def _common(a: Tensor, b: Tensor) -> np.ndarray:
    """Where two intervals meet; empty if nowhere."""
    low, high = max(a.min(), b.min()), min(a.max(), b.max())
    return np.array([float(low), float(high)] if low < high else [])
