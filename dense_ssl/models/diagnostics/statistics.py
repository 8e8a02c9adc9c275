"""Numbers that tell whether features have collapsed and positives are found.

All look at a part of their input only, evenly spaced rather than drawn at random, so that no
random number is taken from the training. Nothing waits for the device; ``effective_rank`` is for
the host.
"""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import at_least_float32

#: Rows, images and cells that are looked at, at most.
ROWS, IMAGES, CELLS = 256, 16, 16
_CHUNK = 8192  # keys of a queue compared at once


class Spread(NamedTuple):
    """How far unit vectors differ.

    Attributes:
        std (Tensor): Their standard deviation over that of vectors of all directions: 1 where all
            directions are equally frequent about zero, 0 where all vectors are the same.
        between (Tensor): Share of their variance that lies between the images, not within.
        gram (Tensor): Their inner products, float64, see :func:`effective_rank`.
    """

    std: Tensor
    between: Tensor
    gram: Tensor


def every(count: int, wanted: int) -> slice:
    """At most ``wanted`` of ``count``, evenly spaced."""
    return slice(None, None, max(1, -(-count // wanted)))


@torch.no_grad()
def spread(x: Tensor) -> Spread:
    """Spread of the cells of maps (N, C, H, W), or of embeddings (N, C)."""
    if x.ndim == 2:
        cells = x[every(len(x), ROWS), None]
    else:
        cells = x[every(len(x), IMAGES)].flatten(2).transpose(1, 2)
        cells = cells[:, every(cells.shape[1], CELLS)]
    cells = F.normalize(at_least_float32(cells.contiguous()), dim=2)  # (n, s, C)
    rows = cells.flatten(0, 1)
    mean = rows.mean(0)
    total = (rows - mean).square().sum(1).mean()
    between = (cells.mean(1) - mean).square().sum(1).mean()
    gram = rows.double()
    return Spread(total.sqrt(), between / total.clamp(min=1e-12), gram @ gram.t())


def effective_rank(gram: Tensor) -> float:
    r"""Number of directions that rows use (Roy and Vetterli, 2007; RankMe, arXiv 2210.02885).

    .. math:: \exp(-\sum_k p_k \log p_k), \quad p_k = \sigma_k / \sum_j \sigma_j

    with the singular values :math:`\sigma` of the rows, which are not centred: of rows that are
    all the same it is 1, whatever noise there is about them.

    Args:
        gram (Tensor): Inner products of the rows (M, M), in float64, for small singular values.

    Returns:
        float: From 1 to the lesser of M and the dimension; nan where a number is not finite.
    """
    gram = gram.cpu().double()
    if not gram.isfinite().all():
        return float('nan')
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    p = singular / singular.sum().clamp(min=1e-300)
    return float(torch.special.entr(p).sum().exp())


def _ranking(positive: Tensor, negative: Tensor, top1: Tensor) -> dict[str, Tensor]:
    return dict(positive=positive, negative=negative, top1=top1)


@torch.no_grad()
def queue_ranking(
    query: Tensor, positive: Tensor, queue: Tensor, valid: Optional[Tensor] = None
) -> dict[str, Tensor]:
    """Where a query's own key stands among those of a queue.

    Args:
        query, positive (Tensor): Unit vectors (R, D).
        queue (Tensor): Unit vectors (K, D).
        valid (Tensor, optional): bool (R,); the others are left out.

    Returns:
        dict: Mean cosine to the own key (``positive``) and to those of the queue (``negative``),
        and how often the own key is the nearest (``top1``).
    """
    rows = every(len(query), ROWS)
    with torch.autocast(query.device.type, enabled=False):
        q, k = at_least_float32(query[rows]), at_least_float32(positive[rows])
        keys = at_least_float32(queue)
        weight = torch.ones_like(q[:, 0]) if valid is None else valid[rows].to(q.dtype)
        weight = weight / weight.sum().clamp(min=1)
        own = (q * k).sum(1)
        nearest = torch.stack([(q @ part.t()).amax(1) for part in keys.split(_CHUNK)]).amax(0)
        return _ranking(
            own @ weight, weight @ (q @ keys.mean(0)), (own > nearest).to(q.dtype) @ weight
        )


@torch.no_grad()
def pair_ranking(online: Tensor, target: Tensor, positive: Tensor) -> dict[str, Tensor]:
    """Where a cell's positives stand among all cells of the other view.

    Args:
        online, target (Tensor): Cells as unit vectors (N, Sa, D) and (N, Sb, D).
        positive (Tensor): Pairs, bool (N, Sa, Sb).

    Returns:
        dict: As :func:`queue_ranking`; ``top1`` is that of cells with a positive.
    """
    images = every(len(online), IMAGES)
    with torch.autocast(online.device.type, enabled=False):
        cosine = at_least_float32(online[images]) @ at_least_float32(target[images]).mT
        pairs = positive[images]
        has = pairs.any(2)
        hits = pairs.gather(2, cosine.argmax(2, keepdim=True)).squeeze(2)
        return _ranking(
            (cosine * pairs).sum() / pairs.sum().clamp(min=1),
            (cosine * ~pairs).sum() / (~pairs).sum().clamp(min=1),
            (hits & has).sum() / has.sum().clamp(min=1),
        )


@torch.no_grad()
def target_ranking(
    predictions: Sequence[Tensor], labels: Sequence[Tensor], targets: Tensor
) -> dict[str, Tensor]:
    """Where a cell's own image stands among those of the batch.

    Args:
        predictions (Sequence[Tensor]): Embeddings (R_l, D) of levels.
        labels (Sequence[Tensor]): Their images (R_l, ), int64.
        targets (Tensor): Embeddings (B, D) of the images.

    Returns:
        dict: As :func:`queue_ranking`.
    """
    query, label = torch.cat(list(predictions)), torch.cat(list(labels))
    rows = every(len(query), ROWS)
    with torch.autocast(query.device.type, enabled=False):
        q, t = (F.normalize(at_least_float32(x), dim=1) for x in (query[rows], targets))
        cosine = q @ t.t()
        own = cosine.gather(1, label[rows, None])
        others = max(1, cosine.numel() - len(cosine))
        return _ranking(
            own.mean(),
            (cosine.sum() - own.sum()) / others,
            (cosine.argmax(1) == label[rows]).to(q.dtype).mean(),
        )
