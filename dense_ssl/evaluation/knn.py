"""Weighted nearest neighbours on frozen features."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dense_ssl.errors import UserError


def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    neighbours: Sequence[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
    chunk: int = 512,
) -> dict[int, float]:
    """Top-1 accuracy of voting neighbours (arXiv 1805.01978, sec. 3.4).

    Each of the k neighbours of highest cosine votes for its class with weight
    exp(cosine / temperature).

    Args:
        train: Features (N, D), any length.
        train_labels: Their classes (N, ), from 0 on.
        test: Features (M, D).
        test_labels: Their classes (M, ).
        neighbours: Numbers k; each is evaluated, at most N of them.
        temperature: Sharpness of the vote.
        chunk: Rows of ``test`` at a time, for the sake of memory.

    Returns:
        Accuracy in percent by k.
    """
    hits = dict.fromkeys(neighbours, 0)
    for rows, predicted in _predictions(train, train_labels, test, neighbours, temperature, chunk):
        for k, classes in predicted.items():
            hits[k] += int((classes == test_labels[rows]).sum())
    return {k: 100 * count / len(test) for k, count in hits.items()}


def knn_classes(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    neighbours: int = 20,
    temperature: float = 0.07,
    chunk: int = 512,
) -> Tensor:
    """The class (M, ) that the neighbours of each test feature vote for; see above."""
    found = _predictions(train, train_labels, test, [neighbours], temperature, chunk)
    return torch.cat([predicted[neighbours] for _, predicted in found])


def _predictions(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    neighbours: Sequence[int],
    temperature: float,
    chunk: int,
) -> Iterator[tuple[slice, dict[int, Tensor]]]:
    """Rows of ``test`` and their classes, by the number of neighbours."""
    if not len(train) or not len(test):
        raise UserError(f'{len(train)} training and {len(test)} test features: both must be there.')
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    most = min(max(neighbours), len(train))
    classes = int(train_labels.max()) + 1
    for start in range(0, len(test), chunk):
        rows = slice(start, start + chunk)
        cosine, index = (test[rows] @ train.t()).topk(most, dim=1)
        # The largest cosine gives 1: the order of votes stays the same.
        weight = ((cosine - cosine[:, :1]) / temperature).exp()
        near = train_labels[index]
        predicted = {}
        for k in neighbours:
            votes = weight.new_zeros(len(cosine), classes)
            predicted[k] = votes.scatter_add_(1, near[:, :k], weight[:, :k]).argmax(1)
        yield rows, predicted
