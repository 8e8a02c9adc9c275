"""How large the network and the images of a study are, and how long it trains."""

import dataclasses
import re
import time
from dataclasses import dataclass
from typing import Optional

from dense_ssl.errors import UserError

__all__ = ['BUDGETS', 'Budget', 'find_budget', 'step_seconds']


@dataclass(frozen=True)
class Budget:
    """One schedule for all starts.

    Attributes:
        name: Of the budget.
        depth, base_channels: Of the ResNet.
        view_size, batch_size, pretrain_iters: Of pre-training: pixels, images a step, steps.
        scale: Long and short side in pixels that labelled images are resized into.
        finetune_iters, finetune_batch: Of fine-tuning: steps, images a step.
        head_width: Most channels of the heads that are fine-tuned.
        segmentation_lr: The recipe's 0.01 is for 40 000 iterations.
    """

    name: str
    depth: int = 18
    base_channels: int = 32
    view_size: int = 64
    batch_size: int = 64
    pretrain_iters: int = 3000
    scale: tuple[int, int] = (256, 192)
    finetune_iters: int = 300
    finetune_batch: int = 8
    head_width: int = 64
    segmentation_lr: float = 0.05

    @property
    def network(self) -> list[str]:
        """``--cfg-options`` of a pre-training config that has this network."""
        options = [f'model.backbone.depth={self.depth}']
        if self.base_channels != 64:
            for key in ('base_channels', 'stem_channels'):
                options.append(f'+model.backbone.{key}={self.base_channels}')
        return options

    @property
    def small(self) -> list[str]:
        """Arguments of tools/finetune.py that give this network."""
        return [
            *('--small', str(self.head_width), '--small-depth', str(self.depth)),
            *('--small-base-channels', str(self.base_channels)),
        ]

    def scaled(self, name: str, factor: float) -> 'Budget':
        """Trained ``factor`` times as long."""
        return dataclasses.replace(
            self,
            name=name,
            pretrain_iters=max(1, round(self.pretrain_iters * factor)),
            finetune_iters=max(1, round(self.finetune_iters * factor)),
        )


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            'tiny',
            batch_size=32,
            pretrain_iters=150,
            scale=(128, 96),
            finetune_iters=40,
            finetune_batch=4,
        ),
        Budget('small'),
        Budget(
            'medium',
            depth=50,
            base_channels=64,
            view_size=128,
            pretrain_iters=20_000,
            scale=(512, 384),
            finetune_iters=3000,
            head_width=128,
        ),
    )
}


def find_budget(text: str) -> tuple[Budget, Optional[float]]:
    """A budget by its name, or ``medium`` and the hours of ``'6h'``.

    Raises:
        UserError: Neither.
    """
    hours = re.fullmatch(r'(\d+(?:\.\d+)?)h(?:ours)?', text.lower())
    if hours and float(hours[1]) > 0:
        return BUDGETS['medium'], float(hours[1])
    if text not in BUDGETS:
        raise UserError(f'--budget {text}: give {", ".join(BUDGETS)}, or hours, such as 6h.')
    return BUDGETS[text], None


#: Billions of multiply-adds of a ResNet with 64 base channels for 224 x 224 pixels.
_WORK = {18: 1.8, 34: 3.7, 50: 4.1, 101: 7.8, 152: 11.5}
#: Seconds that a quiet core takes for a billion of them, forth and back, to within a factor of 2.
_CPU = 0.05


def step_seconds(
    budget: Budget, size: tuple[int, int], images: int, device: str, threads: int = 1
) -> float:
    """Seconds that the backbone takes forth and back for a batch.

    Measured on a GPU. On a CPU, where other work would be measured too, from what it has to do.

    Args:
        depth, width: Of the ResNet.
        size: Of the images, in pixels.
        images: In the batch.
        device: ``cpu`` or ``cuda``.
        threads: Of a CPU; more than 4 help little.
    """
    width = budget.base_channels
    if device == 'cpu':
        work = _WORK.get(budget.depth, 4.1) * (width / 64) ** 2 * images * size[0] * size[1]
        return _CPU * work / 224**2 / min(threads, 4)
    import torch
    from mmpretrain.models import ResNet

    network = ResNet(budget.depth, base_channels=width, stem_channels=width).to(device)
    inputs = torch.rand(images, 3, *size, device=device)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        network(inputs)[-1].mean().backward()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])
