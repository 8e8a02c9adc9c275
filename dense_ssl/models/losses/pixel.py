"""Losses over pairs of cells of two views, one number for each image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import at_least_float32


def unit_cells(x: Tensor) -> Tensor:
    """Cells of a map (N, D, H, W) as unit vectors (N, H*W, D).

    At least float32: half precision drowns in sums over many cells.
    """
    return F.normalize(at_least_float32(x).flatten(2), dim=1).transpose(1, 2)


def positive_cosine(a: Tensor, b: Tensor, positive: Tensor) -> Tensor:
    r"""Mean cosine of an image's positive pairs (PixPro, sec. 3.2).

    .. math:: \frac{\sum_{ij} A_{ij}\, a_i \cdot b_j}
              {\sum_{ij} A_{ij} + 10^{-6}}

    The sum over j is taken first, so that no matrix of similarities has to
    be kept for the backward pass.

    Args:
        a, b (Tensor): Unit vectors (N, Sa, D) and (N, Sb, D).
        positive (Tensor): A, bool (N, Sa, Sb).

    Returns:
        Tensor: (N,); zero, with zero gradients, for an image without pairs.
    """
    with torch.autocast(a.device.type, enabled=False):
        partners = positive.to(b.dtype) @ b
        count = positive.sum((1, 2)).to(a.dtype)
        return (a * partners).sum((1, 2)) / (count + 1e-6)


def pixel_contrast(a: Tensor, b: Tensor, positive: Tensor, temperature: float) -> Tensor:
    r"""PixContrast's loss of an image, seen from view a (PixPro, sec. 3.1).

    .. math:: L(i) = - \log \frac{\sum_{j: A_{ij}=1} e^{a_i \cdot b_j / \tau}}
              {\sum_j e^{a_i \cdot b_j / \tau}}

    averaged over the cells i that have a positive.

    Args:
        a, b (Tensor): Unit vectors (N, Sa, D) and (N, Sb, D).
        positive (Tensor): A, bool (N, Sa, Sb).
        temperature (float): tau.

    Returns:
        Tensor: (N,); zero, with zero gradients, for an image without pairs.
    """
    with torch.autocast(a.device.type, enabled=False):
        logits = a @ b.transpose(1, 2) / temperature
        has_positive = positive.any(2)
        # A cell without a positive keeps all its logits: the two sums are
        # then the same and their difference, like its gradient, is zero,
        # where an empty sum would give infinities.
        counted = positive | ~has_positive[:, :, None]
        numerator = logits.masked_fill(~counted, float('-inf')).logsumexp(2)
        losses = (logits.logsumexp(2) - numerator) * has_positive
        return losses.sum(1) / has_positive.sum(1).clamp(min=1)
