"""Pictures of features: as colours, and their similarity to those of one pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from dense_ssl.errors import UserError

from .networks import PretrainedNetwork
from .style import HEAT, RED, bare_axes

__all__ = ['draw_attention', 'draw_pca', 'draw_similarity', 'principal_colors']


def principal_colors(maps: Sequence[Tensor]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """First three principal components of the cells of all maps, as colours.

    The projection is shared, so that like features have like colours in all pictures. As in
    DINOv2's figures (arXiv 2304.07193) the first component tells foreground, here what the
    borders of the pictures hold less of; a second projection of its cells alone colours it.

    Args:
        maps (Sequence[Tensor]): (C, h, w) each.

    Returns:
        tuple: colours (h, w, 3) from 0 to 1 of all cells; of the foreground, white elsewhere.
    """
    cells = [F.normalize(x.flatten(1).t().double(), dim=1) for x in maps]
    everything = torch.cat(cells)
    projected = _project(everything)
    border = torch.cat([_border(x.shape[-2], x.shape[-1]) for x in maps])
    first = projected[:, 0]
    if first[border].mean() > first[~border].mean():
        first = -first
    foreground = first > 0
    whole = _scale(projected)
    front = torch.ones_like(whole)
    if foreground.sum() > 3:
        front[foreground] = _scale(_project(everything[foreground]))
    sizes = [len(x) for x in cells]
    return tuple(
        [part.reshape(*x.shape[-2:], 3).numpy() for part, x in zip(colors.split(sizes), maps)]
        for colors in (whole, front)
    )  # type: ignore[return-value]


def _project(rows: Tensor) -> Tensor:
    """Onto their first three principal components."""
    rows = rows - rows.mean(0)
    axes = torch.linalg.svd(rows, full_matrices=False).Vh[:3]
    # The sign of a component is arbitrary: its largest weight is to be positive.
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return rows @ axes.t()


def _border(height: int, width: int) -> Tensor:
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    return ~inside.flatten()


def _scale(x: Tensor) -> Tensor:
    """Each component from 0 to 1, but for its outermost hundredths."""
    low, high = x.quantile(0.02, dim=0), x.quantile(0.98, dim=0)
    return ((x - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)


def draw_pca(images: Sequence[np.ndarray], networks: Sequence[PretrainedNetwork]) -> Figure:
    """Features of images (H, W, 3) as colours, of each network all cells and foreground."""
    rows = [('image', images)]
    for network in networks:
        whole, front = principal_colors([network.cells(image) for image in images])
        rows += [(network.name, whole), ('foreground', front)]
    return _rows(images, rows)


def _rows(images, rows) -> Figure:
    """A column for each image, a row for each (name, pictures)."""
    tallest = max(image.shape[0] / image.shape[1] for image in images)
    size = (1.6 * len(images) + 0.4, (1.6 * tallest + 0.1) * len(rows))
    figure = Figure(figsize=size, layout='constrained')
    grid = bare_axes(figure, len(rows), len(images))
    for line, (name, pictures) in zip(grid, rows):
        for axes, image, picture in zip(line, images, pictures):
            show(axes, picture, image.shape[:2])
        line[0].text(
            -0.06, 0.5, name, rotation=90, ha='right', va='center', transform=line[0].transAxes
        )
    return figure


def show(axes: Any, picture: np.ndarray, size: tuple[int, int], **options) -> Any:
    """A picture of cells in the extent of its image; cells stay visible as such."""
    height, width = size
    options = {'interpolation': 'nearest', **options}
    return axes.imshow(picture, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **options)


def _cell_at(pixel: tuple[float, float], size: Sequence[int]) -> tuple[int, int]:
    """Row and column of the cell under a pixel, given as shares of width and height."""
    if not all(0 <= p <= 1 for p in pixel):
        raise UserError(f'--pixel {pixel[0]} {pixel[1]}: give shares of width and height, 0 to 1')
    rows, columns = size
    return min(rows - 1, int(pixel[1] * rows)), min(columns - 1, int(pixel[0] * columns))


def _mark(axes: Any, pixel: tuple[float, float], size: tuple[int, int]) -> None:
    x, y = pixel[0] * size[1], pixel[1] * size[0]
    axes.plot(x, y, 'o', ms=6, mfc=RED, mec='white', mew=1.2)


def draw_similarity(
    images: Sequence[np.ndarray],
    networks: Sequence[PretrainedNetwork],
    pixel: tuple[float, float] = (0.5, 0.5),
) -> Figure:
    """Cosine of every cell to that under a pixel of the first image.

    Args:
        images: (H, W, 3) each.
        networks: A row for each.
        pixel: Share of the width, and of the height.
    """

    def heat(network: PretrainedNetwork) -> list[np.ndarray]:
        maps = [F.normalize(network.cells(image), dim=0) for image in images]
        row, column = _cell_at(pixel, maps[0].shape[-2:])
        query = maps[0][:, row, column]
        return [torch.einsum('c,chw->hw', query, x).numpy() for x in maps]

    return _draw_heat(images, networks, pixel, heat, 'cosine')


def draw_attention(
    images: Sequence[np.ndarray],
    networks: Sequence[PretrainedNetwork],
    pixel: tuple[float, float] = (0.5, 0.5),
) -> Figure:
    """Which cells PixPro's propagation mixes into that under a pixel, of each image.

    Raises:
        UserError: The method propagates nothing.
    """
    for network in networks:
        if getattr(network.model, 'propagation', None) is None:
            kind = type(network.model).__name__
            raise UserError(f'{kind} propagates nothing: attention is for PixPro')

    def heat(network: PretrainedNetwork) -> list[np.ndarray]:
        model, found = network.model, []
        for image in images:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
            with torch.no_grad():
                cells = model.encode_maps(model, network.maps(pixels)).cells[-1][0]
            cells = F.normalize(cells, dim=0)
            row, column = _cell_at(pixel, cells.shape[-2:])
            cosine = torch.einsum('c,chw->hw', cells[:, row, column], cells)
            weights = cosine.clamp(min=model.propagation.clamp) ** model.propagation.gamma
            found.append(weights.numpy())
        return found

    return _draw_heat(images, networks, pixel, heat, 'weight', everywhere=True)


def _draw_heat(images, networks, pixel, heat, label, everywhere: bool = False) -> Figure:
    figure = _rows(images, [('image', images)] + [(n.name, images) for n in networks])
    grid = np.array(figure.axes).reshape(len(networks) + 1, len(images))
    for line, network in zip(grid[1:], networks):
        heats = heat(network)
        low, high = min(x.min() for x in heats), max(x.max() for x in heats)
        for axes, picture, image in zip(line, heats, images):
            axes.images[0].remove()
            drawn = show(axes, picture, image.shape[:2], cmap=HEAT, vmin=low, vmax=high)
        figure.colorbar(drawn, ax=line.tolist(), label=label, shrink=0.9, aspect=12)
    for line in grid:
        for index, (axes, image) in enumerate(zip(line, images)):
            if everywhere or index == 0:
                _mark(axes, pixel, image.shape[:2])
    return figure
