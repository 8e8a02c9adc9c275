"""One look for all pictures: colour-blind safe, legible at the width of a column."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

__all__ = ['BLUE', 'COLORS', 'GREEN', 'GREY', 'HEAT', 'ORANGE', 'RED', 'bare_axes', 'style']

#: Okabe and Ito's colours.
BLUE, ORANGE, GREEN, PINK, SKY, RED = COLORS = [
    '#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00'
]  # fmt: skip
GREY = '#888888'
#: Map of similarities; reads the same with any eyes.
HEAT = 'cividis'


@contextmanager
def style() -> Iterator[None]:
    """Figures made and saved inside look alike."""
    with matplotlib.rc_context(
        {
            'font.size': 10,
            'axes.titlesize': 10,
            'axes.spines.top': False,
            'axes.spines.right': False,
            'figure.dpi': 200,
            'savefig.dpi': 200,
            'savefig.bbox': 'tight',
            'savefig.pad_inches': 0.05,
            'legend.frameon': False,
            'text.parse_math': False,  # names of files and runs are no formulas
            'svg.fonttype': 'none',
            'axes.prop_cycle': cycler(color=COLORS),
        }
    ):
        yield


def bare_axes(figure: Figure, rows: int, columns: int):
    """Axes (rows, columns) without ticks, for pictures."""
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    return grid
