"""Which cells of two views a network takes for the same thing."""

from typing import Optional

import cv2
import numpy as np
import torch
from torch import Tensor

from dense_ssl.models.correspondence import SimilarityCorrespondence, ViewMap
from dense_ssl.models.geometry import cell_distance

__all__ = ['correct_matches', 'draw_correspondence', 'spread_cells', 'tensor_to_image']

GAP = 16  # pixels between the two views
RIGHT, WRONG, UNKNOWN = (40, 200, 60), (230, 60, 50), (250, 210, 60)


def tensor_to_image(view: Tensor, mean, std) -> np.ndarray:
    """A normalised view as a picture.

    Args:
        view (Tensor): (3, H, W), normalised RGB.
        mean, std: Three values each, as the data preprocessor has them.

    Returns:
        np.ndarray: uint8 (H, W, 3), RGB.
    """
    mean, std = (torch.as_tensor(x, dtype=torch.float32).reshape(3, 1, 1) for x in (mean, std))
    pixels = (view.detach().float().cpu() * std + mean).round().clamp(0, 255)
    return pixels.byte().permute(1, 2, 0).numpy()


def correct_matches(
    index: Tensor,
    boxes_a: Tensor,
    boxes_b: Tensor,
    size_a: tuple[int, int],
    size_b: tuple[int, int],
    radius: float = 0.7,
) -> tuple[Tensor, Tensor]:
    """Which matches are right, judged by the views' boxes.

    Args:
        index (Tensor): Matched cell of view b, int64 (N, Ha*Wa).
        boxes_a, boxes_b (Tensor): View boxes (N, 4).
        size_a, size_b (tuple): (H, W) of the feature maps.
        radius (float): Largest distance of a right match, in bin diagonals
            (PixPro, sec. 3.1).

    Returns:
        tuple: bool (N, Ha*Wa) each: the match is right; a right match
        exists at all, that is, the cell lies in the views' overlap.
    """
    distance = cell_distance(boxes_a, boxes_b, size_a, size_b)
    matched = distance.gather(2, index.unsqueeze(2)).squeeze(2)
    return matched < radius, distance.amin(dim=2) < radius


def _enlarge(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.resize(image, (round(side * width / height), side), interpolation=cv2.INTER_CUBIC)


def spread_cells(cells: list, columns: int, count: int) -> list:
    """At most ``count`` cells, each as far as can be from those before."""
    if not cells:
        return []
    points = np.array([divmod(c, columns) for c in cells], float)
    chosen = [0]
    distance = np.full(len(cells), np.inf)
    while len(chosen) < min(count, len(cells)):
        step = np.linalg.norm(points - points[chosen[-1]], axis=1)
        distance = np.minimum(distance, step)
        chosen.append(int(distance.argmax()))
    return [cells[i] for i in chosen]


def _centre(cell: int, size: tuple[int, int], image: np.ndarray):
    row, column = divmod(cell, size[1])
    return (
        round((column + 0.5) * image.shape[1] / size[1]),
        round((row + 0.5) * image.shape[0] / size[0]),
    )


@torch.no_grad()
def draw_correspondence(
    image_a: np.ndarray,
    image_b: np.ndarray,
    features_a: Tensor,
    features_b: Tensor,
    boxes: Optional[tuple[Tensor, Tensor]] = None,
    max_lines: int = 10,
    side: int = 320,
) -> np.ndarray:
    """Two views side by side, their most similar cells joined by lines.

    Cells are matched as DenseCL does, by the cosine of backbone features
    (its eq. 4). With boxes, lines are green where the match lies on
    the same spot of the source image, red where it does not, and cells
    outside the views' overlap, which have no right answer, are left out.
    Without boxes all lines are yellow.

    Args:
        image_a, image_b (np.ndarray): The views, uint8 (H, W, 3), RGB.
        features_a, features_b (Tensor): Feature maps (C, h, w).
        boxes (tuple, optional): View boxes of both, each (4, ).
        max_lines (int): Draw so many matches, spread over the first view.
        side (int): Height of the drawn views in pixels.

    Returns:
        np.ndarray: uint8 (1.25 * side, width, 3), RGB. The second view sits
        lower, so that lines of one row do not hide each other.
    """
    (ha, wa), (hb, wb) = features_a.shape[-2:], features_b.shape[-2:]
    sizes = (ha, wa), (hb, wb)
    a, b = ViewMap(features_a[None].float()), ViewMap(features_b[None].float())
    index = SimilarityCorrespondence().match(a, b).index
    wanted = torch.ones_like(index[0], dtype=torch.bool)
    if boxes is not None:
        right, wanted = (
            x[0]
            for x in correct_matches(index, boxes[0][None].float(), boxes[1][None].float(), *sizes)
        )

    left, other = _enlarge(image_a, side), _enlarge(image_b, side)
    down, across = side // 4, left.shape[1] + GAP
    canvas = np.full((side + down, across + other.shape[1], 3), 255, np.uint8)
    canvas[:side, : left.shape[1]] = left
    canvas[down:, across:] = other
    cells = wanted.nonzero().flatten().tolist()
    for cell in spread_cells(cells, sizes[0][1], max_lines):
        x1, y1 = _centre(cell, sizes[0], left)
        x2, y2 = _centre(int(index[0, cell]), sizes[1], other)
        x2, y2 = x2 + across, y2 + down
        colour = UNKNOWN if boxes is None else (RIGHT if right[cell] else WRONG)
        cv2.line(canvas, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)
        for point in ((x1, y1), (x2, y2)):
            cv2.circle(canvas, point, 4, colour, -1, cv2.LINE_AA)
            cv2.circle(canvas, point, 4, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas
