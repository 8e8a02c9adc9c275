"""Measured figures as bar charts."""

from collections.abc import Sequence


def bar_chart(path: str, title: str, unit: str, *groups: Sequence[tuple[str, float]]) -> None:
    """Write horizontal bars, one colour a group, the first bar on top."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    bars = [(name, value, f'C{i}') for i, group in enumerate(groups) for name, value in group]
    names, values, colours = zip(*bars[::-1])
    figure, axes = plt.subplots(figsize=(9, 1 + 0.35 * len(bars)))
    # by position: groups may have names in common
    drawn = axes.barh(range(len(bars)), values, color=colours)
    axes.set_yticks(range(len(bars)), names)
    axes.bar_label(drawn, fmt='%.3g', padding=3)
    axes.margins(x=0.1)
    axes.set_xlabel(unit)
    axes.set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
