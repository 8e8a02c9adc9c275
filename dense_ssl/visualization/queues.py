"""What an image is told apart from: the keys in a checkpoint's queue."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from mmengine.config import Config
from torch import Tensor

from dense_ssl.errors import UserError

from .networks import PretrainedNetwork, draw_views_of
from .style import GREY, ORANGE, RED

__all__ = ['ages', 'draw_queue']

NEAREST = 20


def ages(length: int, written: int) -> Tensor:
    """How many keys were written after each slot's, int64; -1 where a slot holds none."""
    slot = torch.arange(length)
    age = (written - 1 - slot) % length
    return torch.where(age < written, age, torch.full_like(age, -1))


def draw_queue(cfg: Config, network: PretrainedNetwork, files: Sequence[str]) -> Figure:
    """For each image, cosines of one view to the other and to the queue, and the nearest's age.

    A queue as it should be lies far below the own view; keys above it are false negatives, and
    where the nearest are all young, old keys have become useless.

    Raises:
        UserError: The checkpoint has no queue, or an empty one.
    """
    if 'queue' not in network.queues:
        raise UserError('the checkpoint has no queue: give one of DenseCL or MoCo v2')
    keys, written = network.queues['queue']
    age = ages(len(keys), written)
    keys, age = keys[age >= 0], age[age >= 0]
    if not len(keys):
        raise UserError('the queue of the checkpoint is empty')
    figure = Figure(figsize=(7.5, 1.9 * len(files) + 0.3), layout='constrained')
    grid = figure.subplots(
        len(files), 4, squeeze=False, gridspec_kw=dict(width_ratios=[1, 1, 1.8, 1.8])
    )
    for line, path in zip(grid, files):
        pictures, _ = draw_views_of(cfg, path)
        query, own = (_embed(network, picture) for picture in pictures[:2])
        cosine, positive = keys @ query, float(own @ query)
        for axes, picture in zip(line, pictures):
            axes.imshow(picture)
            axes.set_axis_off()
        line[2].hist(cosine.numpy(), 40, color=GREY)
        line[2].axvline(positive, color=RED, lw=1.8)
        rank = int((cosine > positive).sum())
        line[2].set_title(f'{rank} of {len(keys)} keys nearer')
        line[2].set_yticks([])
        near = cosine.topk(min(NEAREST, len(keys)))
        line[3].plot(age.numpy(), cosine.numpy(), '.', ms=1.5, color=GREY, alpha=0.5)
        line[3].plot(age[near.indices].numpy(), near.values.numpy(), 'o', ms=3.5, color=ORANGE)
        line[3].axhline(positive, color=RED, lw=1.2)
    grid[0][0].set_title('query')
    grid[0][1].set_title('own key')
    grid[-1][2].set_xlabel('cosine to the query')
    grid[-1][3].set_xlabel('age: keys written since')
    for line in grid:
        line[3].set_ylabel('cosine')
    handles = [
        Line2D([], [], color=RED, label='own key'),
        Line2D([], [], color=GREY, marker='.', linestyle='', label='queue'),
        Line2D([], [], color=ORANGE, marker='o', linestyle='', label=f'{NEAREST} nearest'),
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=3)
    return figure


@torch.no_grad()
def _embed(network: PretrainedNetwork, picture: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return F.normalize(network.model.projector(network.maps(pixels)).global_, dim=1)[0]
