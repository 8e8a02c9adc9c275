"""What a linear classifier, or neighbours, read from the cells of a frozen backbone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense_ssl.errors import UserError

from .features import cells, renew_norms
from .knn import knn_classes
from .labeled_images import IGNORE, LabeledImages

__all__ = ['ProbeResult', 'cell_labels', 'dense_probe', 'fit_linear', 'mean_iou']


class ProbeResult(NamedTuple):
    """Scores in percent.

    Attributes:
        probe_mIoU: Of the linear classifier, over all pixels of the validation images.
        knn_mIoU: Of the nearest neighbours, over cells drawn from them.
        classes: IoU of the linear classifier by class; of classes that occur.
    """

    probe_mIoU: float
    knn_mIoU: float
    classes: dict[int, float]


def dense_probe(
    backbone: nn.Module,
    train: LabeledImages,
    val: LabeledImages,
    num_classes: int,
    stages: Sequence[int] = (1, 2, 3),
    cells_per_image: int = 256,
    seed: int = 0,
    neighbours: int = 20,
) -> ProbeResult:
    """Frozen dense features, scored by semantic segmentation.

    Norm statistics are taken from the training images. A multinomial logistic regression on
    standardised features is fitted to cells drawn from them, a cell having the class of most of
    its pixels, and scored on every pixel of ``val``: its scores are enlarged to the image.

    Args:
        backbone: Gives a tuple of maps; its norms are renewed in place.
        train, val: Labelled images.
        num_classes: Classes count from 0.
        stages: Maps of the backbone that are read.
        cells_per_image: Training cells of an image, drawn by ``seed``.
        neighbours: k of the neighbours' vote (20 000 training cells at most).

    Raises:
        UserError: No cell of ``train`` or no pixel of ``val`` has a class.
    """
    renew_norms(backbone, (batch.images for batch in train))
    draw = torch.Generator().manual_seed(seed)
    drawn = _draw(backbone, train, stages, cells_per_image, num_classes, draw)
    x, y = (torch.cat(parts) for parts in zip(*drawn))
    if not len(y):
        raise UserError('no cell of the training images has a class: all of them are ignored')
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    x = (x - mean) / std
    weight, bias = fit_linear(x, y, num_classes)

    confusion = y.new_zeros(num_classes, num_classes)
    for batch in val:
        maps = cells(backbone, batch.images, stages)
        scaled = (maps - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
        logits = torch.einsum('ndhw,cd->nchw', scaled, weight) + bias.view(-1, 1, 1)
        logits = F.interpolate(logits, batch.labels.shape[-2:], mode='bilinear')
        confusion += _confusion(logits.argmax(1), batch.labels, num_classes)
    score, classes = mean_iou(confusion)

    of_val = _draw(backbone, val, stages, cells_per_image // 4, num_classes, draw)
    val_x, val_y = (torch.cat(parts) for parts in zip(*of_val))
    bank = torch.randperm(len(y), generator=draw)[:20000].to(y.device)
    guesses = knn_classes(x[bank], y[bank], (val_x - mean) / std, neighbours)
    return ProbeResult(score, mean_iou(_confusion(guesses, val_y, num_classes))[0], classes)


def cell_labels(labels: Tensor, grid: tuple[int, int], num_classes: int) -> Tensor:
    """Class of most pixels of each cell; ignored where most pixels are.

    Args:
        labels: Class of each pixel (N, H, W), 255 for none.
        grid: Cells a column and a row.

    Returns:
        Tensor: (N, *grid), int64.
    """
    known = labels.where(labels != IGNORE, num_classes)
    share = F.one_hot(known, num_classes + 1).permute(0, 3, 1, 2).float()
    most = F.adaptive_avg_pool2d(share, grid).argmax(1)
    return most.where(most != num_classes, IGNORE)


def fit_linear(
    x: Tensor, y: Tensor, num_classes: int, decay: float = 1e-4, steps: int = 100
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression by L-BFGS: nothing to tune, and always the same.

    Args:
        x: Standardised features (N, D).
        y: Classes (N, ).
        decay: Weight of half the squared norm of the weights, biases left out.

    Returns:
        Weights (C, D) and biases (C, ).
    """
    weight, bias = x.new_zeros(num_classes, x.shape[1]), x.new_zeros(num_classes)
    weight.requires_grad = bias.requires_grad = True
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, history_size=10, line_search_fn='strong_wolfe'
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y) + decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weight.detach(), bias.detach()


def mean_iou(confusion: Tensor) -> tuple[float, dict[int, float]]:
    """Mean and single intersections over unions, in percent.

    Args:
        confusion: Pixels by true class (rows) and predicted class. A class that neither occurs
            nor is predicted does not count.

    Raises:
        UserError: Nothing was counted.
    """
    hit = confusion.diag().double()
    union = confusion.sum(0) + confusion.sum(1) - hit
    if not union.sum():
        raise UserError('no pixel of the validation images has a class: all of them are ignored')
    found = {int(c): float(100 * hit[c] / union[c]) for c in union.nonzero().flatten()}
    return sum(found.values()) / len(found), found


def _draw(
    backbone: nn.Module,
    data: LabeledImages,
    stages: Sequence[int],
    count: int,
    num_classes: int,
    draw: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Features and classes of ``count`` cells of each image, of those that have a class."""
    for images, labels in data:
        maps = cells(backbone, images, stages)
        height, width = maps.shape[-2:]
        classes = cell_labels(labels, (height, width), num_classes)
        for image, truth in zip(maps.flatten(2), classes.flatten(1)):
            chosen = torch.randperm(len(truth), generator=draw)[:count].to(truth.device)
            chosen = chosen[truth[chosen] != IGNORE]
            yield image[:, chosen].t(), truth[chosen]


def _confusion(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    valid = labels != IGNORE
    pairs = labels[valid] * num_classes + predicted[valid]
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)
