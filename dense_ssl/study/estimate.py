"""How long cells take: a rough measure at first, corrected by those that have finished."""

from collections.abc import Sequence

from .budget import Budget, step_seconds
from .cells import Cell

__all__ = ['expected', 'remaining', 'set_priors']

#: Seconds to start a tool and load its frameworks.
_START = dict(pretrain=12, probe=10, finetune=20)
#: Steps in units of the backbone, forth and back: a second view and the momentum network; a
#: backbone that reduces by 8; proposals and masks.
_STEP = dict(pretrain=3.0, segmentation=4.0, detection=5.0)
#: Seconds of one loading process for an image.
_LOAD = 0.004


def set_priors(
    cells: Sequence[Cell], budget: Budget, device: str, threads: int, workers: int, labelled: int
) -> None:
    """Give each cell the seconds that it may take, from those of the backbone."""
    tuned = budget.finetune_batch
    steps = {
        kind: (iters, images, step_seconds(budget, size, images, device, threads))
        for kind, iters, images, size in (
            ('pretrain', budget.pretrain_iters, budget.batch_size, (budget.view_size,) * 2),
            ('finetune', budget.finetune_iters, tuned, budget.scale),
        )
    }
    an_image = steps['finetune'][2] / tuned
    for cell in cells:
        kind = cell.about['kind']
        cell.prior = _START[kind] + labelled * an_image * (kind != 'pretrain')
        if kind in steps:
            iters, images, seconds = steps[kind]
            times = _STEP[cell.about['task'] or kind]
            cell.prior += iters * max(seconds * times, images * _LOAD / max(1, workers))


def expected(cell: Cell, cells: Sequence[Cell]) -> float:
    """Seconds of a cell, as those like it took that have finished."""
    done = [c for c in cells if c.state == 'done']
    same = ('kind', 'task', 'start'), ('kind', 'task'), ('kind',)
    for keys in same:
        like = [c for c in done if all(c.about.get(k) == cell.about.get(k) for k in keys)]
        if like:
            return cell.prior * sum(c.seconds for c in like) / sum(c.prior for c in like)
    return cell.prior


def remaining(cells: Sequence[Cell], places: int, now: float) -> float:
    """Seconds until all is done."""
    left = 0.0
    for cell in cells:
        if cell.state in ('to do', 'running'):
            passed = now - cell.started if cell.state == 'running' else 0
            left += max(0.0, expected(cell, cells) - cell.seconds - passed)
    return left / max(1, min(places, len(cells)))
