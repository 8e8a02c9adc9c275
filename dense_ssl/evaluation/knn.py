"""Weighted nearest neighbours on frozen features."""

from collections.abc import Sequence

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
    if not len(train) or not len(test):
        raise UserError(f'{len(train)} training and {len(test)} test features: both must be there.')
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    most = min(max(neighbours), len(train))
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    hits = dict.fromkeys(neighbours, 0)
    for rows, labels in zip(test.split(chunk), test_labels.split(chunk)):
        cosine, index = (rows @ train.t()).topk(most, dim=1)
        # The largest cosine gives 1: the order of votes stays the same.
        weight = ((cosine - cosine[:, :1]) / temperature).exp()
        near = train_labels[index]
        for k in neighbours:
            votes = weight.new_zeros(len(rows), classes)
            votes.scatter_add_(1, near[:, :k], weight[:, :k])
            hits[k] += int((votes.argmax(1) == labels).sum())
    return {k: 100 * count / len(test) for k, count in hits.items()}
