"""Curves of what a training run logged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Union

import numpy as np

from dense_ssl.errors import UserError
from dense_ssl.transfer import TransferError
from dense_ssl.transfer.checkpoint import read_file


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
    content = read_file(checkpoint)
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
    return {
        name: np.concatenate([gone, values]) if len(values) == longest else values
        for name, values in held.items()
    }


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each ``window`` neighbours; (max(1, n - window + 1),)."""
    window = min(window, len(values))
    return np.convolve(values, np.full(window, 1 / window), 'valid')


def draw_curves(runs: dict[str, dict[str, np.ndarray]], names: Sequence[str], window: int = 10):
    """One plot for each name, one curve for each run.

    Args:
        runs (dict): For each label, what :func:`logged_scalars` returns.
        names (Sequence[str]): What to plot.
        window (int): Iterations to average.

    Returns:
        matplotlib.figure.Figure

    Raises:
        UserError: A name that no run logged.
    """
    from matplotlib.figure import Figure

    logged: list[str] = sorted(set().union(*runs.values()))
    missing = [name for name in names if name not in logged]
    if missing:
        raise UserError(f'{", ".join(missing)}: not logged. There is {", ".join(logged)}')
    figure = Figure(figsize=(4 * len(names), 3), layout='constrained')
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        for label, scalars in runs.items():
            if name not in scalars:
                continue
            y = smooth(scalars[name], window)
            x = np.arange(len(y)) + 1 + (len(scalars[name]) - len(y)) / 2
            axes.plot(x, y, label=label)
        axes.set(title=name, xlabel='iteration')
        axes.grid(alpha=0.3)
        if len(runs) > 1:
            axes.legend()
    return figure
