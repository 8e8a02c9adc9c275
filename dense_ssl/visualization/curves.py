"""Curves of what a training run logged."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from dense_ssl.errors import UserError
from dense_ssl.models.diagnostics import RANGES
from dense_ssl.transfer import TransferError
from dense_ssl.transfer.checkpoint import read_file

from .style import COLORS, GREEN, style

__all__ = ['Run', 'draw_curves', 'logged_scalars', 'read_run', 'smooth']

#: What is looked at now and then, in the order of a page.
DIAGNOSTICS = tuple(
    f'{kind}_{what}'
    for kind in ('feature', 'cell', 'image')
    for what in ('std', 'rank', 'between', 'positive', 'negative', 'top1')
) + ('positive_pairs', 'no_overlap', 'matched', 'gradient_norm', 'queue_age', 'momentum',
     'data_wait')  # fmt: skip


class Run:
    """What a run logged, by name.

    Attributes:
        values (dict): (n,) each.
        steps (dict): Iterations (n,) of them, from 1 on.
        method (str): Its algorithm, a key of ``RANGES``, as far as its networks tell.
    """

    def __init__(self, values: Mapping[str, Any], seen: Sequence[int] = (), method: str = ''):
        self.values = {k: np.asarray(v, dtype=float) for k, v in values.items()}
        length = max(map(len, self.values.values()), default=0)
        looked = np.asarray(seen)
        self.steps = {
            # what is not logged in every iteration is what DiagnosticsHook looked at
            name: looked[-len(v) :] if len(v) < length and 0 < len(v) <= len(looked)
            else np.arange(len(v)) + 1
            for name, v in self.values.items()
        }  # fmt: skip
        self.method = method


def logged_scalars(checkpoint: Union[str, Path]) -> dict[str, np.ndarray]:
    """What a run logged at every training iteration, from its checkpoint.

    Log files hold an average every ``interval`` iterations; the message hub,
    which checkpoints carry, holds the last iterations, at least 10 000 of them.

    Returns:
        dict: (iterations,) values by name, e.g. 'loss', 'positive_pairs'; nan for those that are
        no longer held.

    Raises:
        TransferError: The file is no training checkpoint.
    """
    return read_run(checkpoint).values


def read_run(checkpoint: Union[str, Path]) -> Run:
    """As :func:`logged_scalars`, of a checkpoint or of the last one in a work folder."""
    path = Path(checkpoint)
    if path.is_dir():
        path = last_checkpoint(path)
    content = read_file(path)
    hub = content.get('message_hub') if isinstance(content, dict) else None
    if not hub:
        raise TransferError(
            f'{checkpoint} holds no log: give a checkpoint of a training run '
            '(epoch_N.pth or iter_N.pth), not weights taken out of one'
        )
    held = {
        name.split('/', 1)[1]: np.asarray(buffer.values, dtype=float)
        for name, buffer in hub['log_scalars'].items()
        if name.startswith('train/')
    }
    longest = max(map(len, held.values()), default=0)
    gone = np.full(max(0, content.get('meta', {}).get('iter', 0) - longest), np.nan)
    values = {
        name: np.concatenate([gone, series]) if len(series) == longest else series
        for name, series in held.items()
    }
    return Run(values, hub['runtime_info'].get('diagnosed', ()), _method(content['state_dict']))


def last_checkpoint(work_dir: Path) -> Path:
    """The newest checkpoint in the folder of a run.

    Raises:
        UserError: There is none.
    """
    files = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    if not files:
        raise UserError(f'{work_dir} holds no checkpoint (epoch_N.pth or iter_N.pth)')
    return max(files, key=lambda path: path.stat().st_mtime)


def _method(weights) -> str:
    """Algorithm whose networks these are."""
    first = {key.partition('.')[0] for key in weights}
    for part, method in (
        ('predictors', 'MCL'),
        ('propagation', 'PixPro'),
        ('dense_queue', 'DenseCL'),
        ('queue', 'MoCo v2'),
        ('projector', 'PixContrast'),
    ):
        if part in first:
            return method
    return ''


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each ``window`` neighbours; (max(1, n - window + 1),)."""
    window = min(window, len(values))
    return np.convolve(values, np.full(window, 1 / window), 'valid')


def draw_curves(
    runs: Mapping[str, Union[Run, Mapping[str, np.ndarray]]], names: Sequence[str], window: int = 10
):
    """One plot for each name, one curve for each run; healthy ranges are shaded.

    Args:
        runs (dict): For each label, a :class:`Run` or what :func:`logged_scalars` returns.
        names (Sequence[str]): What to plot; 'all' stands for the loss and all diagnostics.
        window (int): Iterations to average, of what is logged in every one.

    Returns:
        matplotlib.figure.Figure

    Raises:
        UserError: A name that no run logged.
    """
    from matplotlib.figure import Figure

    loaded = {label: run if isinstance(run, Run) else Run(run) for label, run in runs.items()}
    logged: list[str] = sorted(set().union(*(run.values for run in loaded.values())))
    if list(names) == ['all']:
        losses = [name for name in logged if name.startswith('loss')]
        names = losses + [name for name in DIAGNOSTICS if name in logged]
    missing = [name for name in names if name not in logged]
    if missing:
        raise UserError(f'{", ".join(missing)}: not logged. There is {", ".join(logged)}')
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    with style():
        figure = Figure(figsize=(2.7 * columns + 0.3, 2.1 * rows + 0.4), layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for axes in list(grid)[len(names) :]:
            axes.remove()
        for axes, name in zip(figure.axes, names):
            _draw(axes, name, loaded, window)
        if len(loaded) > 1:
            lines = list(figure.axes[0].lines)
            columns = min(4, len(loaded))
            figure.legend(lines, [*loaded], loc='outside lower center', ncols=columns)
    return figure


def _draw(axes, name: str, runs: Mapping[str, Run], window: int) -> None:
    for (label, run), color in zip(runs.items(), COLORS * len(runs)):
        if name not in run.values:
            axes.plot([], [], label=label, color=color)
            continue
        values, steps = run.values[name], run.steps[name]
        width = window if len(steps) > 1 and steps[1] - steps[0] == 1 else 1
        axes.plot(smooth(steps, width), smooth(values, width), label=label, color=color, lw=1.3)
    axes.set(title=name, xlabel='iteration')
    axes.grid(alpha=0.25)
    methods = {run.method for run in runs.values()}
    healthy = RANGES.get(methods.pop(), {}).get(name) if len(methods) == 1 else None
    if healthy:
        bottom, top = axes.get_ylim()
        axes.axhspan(*healthy, color=GREEN, alpha=0.13, lw=0)
        axes.set_ylim(bottom, top)
