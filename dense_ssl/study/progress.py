"""How far a study is: a bar in a terminal, a line for each cell elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

from .cells import Cell, pretty
from .estimate import expected, remaining

__all__ = ['Progress']

_SHOWN = ('probe_mIoU', 'knn_mIoU', 'mIoU', 'box_AP', 'mask_AP')


class Progress:
    """Shows what happens to the cells.

    Args:
        cells: All of the study.
        places: How many run at a time.
        say: Takes lines for the user.
    """

    def __init__(self, cells: Sequence[Cell], places: int, say: Callable[[str], None]) -> None:
        self.cells, self.places, self.say = cells, places, say
        self.bar: Optional[Any] = None
        if sys.stdout.isatty() and any(cell.state == 'to do' for cell in cells):
            try:
                from rich.progress import BarColumn, Progress, TextColumn
            except ImportError:
                return
            self.bar = Progress(
                TextColumn('{task.description}'), BarColumn(), TextColumn('{task.fields[left]}')
            )
            self.task = self.bar.add_task('', total=1.0, left='')
            self.say = self.bar.console.out

    def __enter__(self) -> 'Progress':
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self.bar:
            self.bar.stop()

    def changed(self, cell: Cell) -> None:
        """Say what became of a cell."""
        ended = sum(c.state in ('done', 'failed', 'blocked') for c in self.cells)
        where = f'[{ended}/{len(self.cells)}] {cell.id}'
        left = pretty(remaining(self.cells, self.places, time.time()))
        if cell.state == 'running':
            if not self.bar:
                self.say(f'{where}: about {pretty(expected(cell, self.cells))}, log {cell.log}')
        elif cell.state == 'done':
            metrics = cell.results.get('metrics', {})
            scores = ''.join(f', {k} {metrics[k]:.2f}' for k in _SHOWN if k in metrics)
            self.say(f'{where}: done in {pretty(cell.seconds)}{scores}; about {left} left')
        else:
            self.say(f'{where}: {cell.state}: {cell.error}')

    def tick(self) -> None:
        """Move the bar."""
        if not self.bar:
            return
        running = [cell.id for cell in self.cells if cell.state == 'running']
        left = remaining(self.cells, self.places, time.time())
        spent = sum(cell.seconds for cell in self.cells)
        spent += sum(time.time() - c.started for c in self.cells if c.state == 'running')
        spent /= max(1, min(self.places, len(self.cells)))
        self.bar.update(
            self.task,
            description=', '.join(running)[:60],
            completed=spent / max(spent + left, 1e-9),
            left=f'about {pretty(left)} left',
        )
