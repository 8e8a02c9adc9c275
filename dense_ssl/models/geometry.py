"""Where the cells of a feature map sit in the source image.

A view box is (x1, y1, x2, y2) in source coordinates, running along the view's
own axes: a flipped view has x1 > x2 (see ``datasets/transforms/view_box.py``).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Size = Sequence[int]  # H, W


def cell_axes(boxes: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Coordinates of column and row centres.

    Args:
        boxes (Tensor): View boxes (N, 4).
        size (tuple): (H, W) of the feature map.

    Returns:
        tuple: x of the columns (N, W) and y of the rows (N, H):
        ``x1 + (j + .5) (x2 - x1) / W`` (PixPro, sec. 3.1).
    """
    height, width = size
    x1, y1, x2, y2 = boxes.unsqueeze(-1).unbind(1)
    column = torch.arange(width, device=boxes.device, dtype=boxes.dtype) + 0.5
    row = torch.arange(height, device=boxes.device, dtype=boxes.dtype) + 0.5
    return x1 + column * ((x2 - x1) / width), y1 + row * ((y2 - y1) / height)


def bin_diagonal(boxes: Tensor, size: Size) -> Tensor:
    """Length (N,) of a cell's diagonal in source coordinates."""
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.hypot((x2 - x1) / width, (y2 - y1) / height)


def cell_distance(boxes_a: Tensor, boxes_b: Tensor, size_a: Size, size_b: Size) -> Tensor:
    """Distances between all cells of two views, in bin diagonals.

    The unit is the larger of the two views' bin diagonals (PixPro, sec. 3.1).
    Two views without extent (crops of one pixel) are infinitely far apart.

    Args:
        boxes_a, boxes_b (Tensor): View boxes (N, 4).
        size_a, size_b (tuple): (H, W) of the feature maps.

    Returns:
        Tensor: (N, Ha*Wa, Hb*Wb), cells row-major.
    """
    xa, ya = cell_axes(boxes_a, size_a)
    xb, yb = cell_axes(boxes_b, size_b)
    dx = xa[:, :, None] - xb[:, None, :]  # (N, Wa, Wb)
    dy = ya[:, :, None] - yb[:, None, :]  # (N, Ha, Hb)
    distance = torch.hypot(dx[:, None, :, None, :], dy[:, :, None, :, None])
    unit = torch.maximum(bin_diagonal(boxes_a, size_a), bin_diagonal(boxes_b, size_b))
    distance = distance.flatten(3, 4).flatten(1, 2) / unit[:, None, None]
    return distance.nan_to_num_(nan=float('inf'), posinf=float('inf'))
