"""The figures of a report, as SVG that takes its ink from the page around it."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..statistics import REFERENCES, Setting
from . import words

#: Okabe and Ito's colours that stand out on white and on black.
COLORS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00']
MARKERS = 'osD^vP'
#: Stands for the page's own ink until the SVG is written.
INK = '#010203'
STYLE: dict[Any, Any] = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'dense_ssl',
    'text.parse_math': False,
    'font.size': 10,
    'figure.facecolor': 'none',
    'axes.facecolor': 'none',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.titlesize': 10,
    'axes.titlelocation': 'left',
    'axes.grid': True,
    'grid.alpha': 0.15,
    'grid.color': INK,
    'legend.frameon': False,
    **dict.fromkeys(
        ['text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color'], INK
    ),
}
#: Points of a curve that are drawn, each the mean of a stretch.
POINTS = 100
WIDTH = 7.5


def style_of(start: str, starts: Sequence[str]) -> dict:
    """A start's look, the same in every figure; of more than six, marker and line change too."""
    if start == 'random':
        return dict(color='#888888', marker='X')
    turn, index = divmod([s for s in starts if s != 'random'].index(start), len(COLORS))
    return dict(
        color=COLORS[index],
        marker=MARKERS[(index + turn) % len(MARKERS)],
        linestyle=('-', '--', ':', '-.')[turn % 4],
    )


def all_figures(
    results: Mapping, settings: Sequence[Setting], names: Mapping[str, str]
) -> Iterator[tuple[str, Figure]]:
    """Every figure that the results are enough for, with its caption."""
    for task in dict.fromkeys(setting.task for setting in settings):
        of_task = [setting for setting in settings if setting.task == task]
        compared = [setting for setting in of_task if setting.against]
        if compared:
            yield (
                f'{task}: differences in {words.metric_name(compared[0].metric)}. '
                'Lines are 95 % intervals, small dots the seeds.',
                differences(compared, names),
            )
        shares = {
            reference: [s for s in compared if s.labels is not None and reference in s.against]
            for reference in REFERENCES
        }
        reference = max(REFERENCES, key=lambda reference: len(shares[reference]))
        if len(shares[reference]) > 1:
            yield (
                f'{task}: gain over {names[reference]} by share of labels, with 95 % intervals.',
                gain_by_labels(shares[reference], reference, names),
            )
    pretrained = [c for c in results['cells'] if c['kind'] == 'pretrain' and has_curve(c, 'loss')]
    if pretrained:
        panels = {
            name: [cell for cell in pretrained if cell['start'] == start]
            for start, name in names.items()
        }
        yield (
            'Pre-training loss, a line for each seed. Losses of different methods cannot be '
            'compared.',
            curves(panels, 'loss', names, legend=False),
        )
    yield from finetuning(results, names)


def finetuning(results: Mapping, names: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """For each task its score over the training, or else its loss."""
    for task, about in results['study'].get('tasks', {}).items():
        cells = [c for c in results['cells'] if c.get('task') == task]
        key = about['metric'] if any(has_curve(c, about['metric']) for c in cells) else 'loss'
        cells = [cell for cell in cells if has_curve(cell, key)]
        panels: dict[str, list[Mapping]] = {}
        for cell in sorted(cells, key=lambda cell: -(cell.get('labels') or 1)):
            panels.setdefault(words.labels_name(cell.get('labels')), []).append(cell)
        if panels:
            what = words.metric_name(key)
            caption = f'{task}: {what} over the fine-tuning, a line for each seed.'
            yield caption, curves(panels, key, names)


def has_curve(cell: Mapping, key: str) -> bool:
    return len(curve(cell, key)) > 1


def curve(cell: Mapping, key: str) -> np.ndarray:
    """(n, 2) steps and values of a curve, without what is no number."""
    points = [(p.get('step'), p.get(key)) for p in cell.get('curve') or ()]
    kept = [p for p in points if all(isinstance(v, (int, float)) and math.isfinite(v) for v in p)]
    return np.array(kept, dtype=float).reshape(-1, 2)


def differences(settings: Sequence[Setting], names: Mapping[str, str]) -> Figure:
    """A row for each start and share of labels, a panel for each reference."""
    references = [r for r in REFERENCES if any(r in setting.against for setting in settings)]
    rows = [
        (setting, start)
        for setting in settings
        for start in setting.scores
        if any(start in found for found in setting.against.values())
    ]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.32 * (len(rows) + len(settings))), layout='constrained')
    panels = figure.subplots(1, len(references), sharey=True, squeeze=False)[0]
    ticks, labels, headings = [], [], set()
    y, last = 0.0, None
    for setting, start in rows:
        if setting is not last and setting.labels is not None:
            ticks.append(y)
            labels.append(words.labels_name(setting.labels))
            headings.add(y)
            y += 1
        ticks.append(y)
        labels.append(names[start])
        for axes, reference in zip(panels, references):
            found = setting.against.get(reference, {}).get(start)
            if found:
                style = style_of(start, [*names])
                axes.errorbar(found.mean, y, xerr=found.half, capsize=3, **style)
            if found and found.half is not None:
                seeds = [*found.by_seed.values()], [y + 0.25] * len(found.by_seed)
                axes.plot(*seeds, '.', markersize=4, color=style['color'])
        y, last = y + 1, setting
    for axes, reference in zip(panels, references):
        axes.axvline(0, color=INK, linewidth=1)
        metric = words.metric_name(settings[0].metric)
        axes.set(title=f'less {names[reference]}', xlabel=f'difference in {metric}')
        axes.grid(axis='y', visible=False)
        axes.tick_params(axis='y', length=0)
    panels[0].set_yticks(ticks, labels)
    for at, tick in zip(ticks, panels[0].get_yticklabels()):
        tick.set_fontweight('bold' if at in headings else 'normal')
    panels[0].set_ylim(y - 0.4, -0.6)
    return figure


def gain_by_labels(settings: Sequence[Setting], reference: str, names: Mapping[str, str]) -> Figure:
    """A line for each start over the shares of labels."""
    figure = Figure(figsize=(WIDTH * 0.7, 3.2), layout='constrained')
    axes = figure.subplots()
    settings = sorted(settings, key=lambda setting: setting.labels or 0)
    found_starts = [s for s in names if any(s in x.against[reference] for x in settings)]
    for index, start in enumerate(found_starts):
        points = [
            # Beside each other, so that intervals do not hide one another.
            (at + 0.06 * (index - (len(found_starts) - 1) / 2), setting.against[reference][start])
            for at, setting in enumerate(settings)
            if start in setting.against[reference]
        ]
        axes.errorbar(
            [at for at, _ in points],
            [difference.mean for _, difference in points],
            yerr=[difference.half or 0 for _, difference in points],
            capsize=3,
            label=names[start],
            **style_of(start, [*names]),
        )
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_xticks(range(len(settings)), [f'{100 * (s.labels or 0):g} %' for s in settings])
    axes.set(xlabel='share of the labels', ylabel=f'{words.metric_name(settings[0].metric)} gained')
    axes.grid(axis='x', visible=False)
    figure.legend(loc='outside right upper')
    return figure


def curves(
    panels: Mapping[str, Sequence[Mapping]], key: str, names: Mapping[str, str], legend: bool = True
) -> Figure:
    """A panel for each group of cells, a line for each cell."""
    panels = {title: cells for title, cells in panels.items() if cells}
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = WIDTH * max(columns, 1.6) / 3 + 1.3 * legend
    figure = Figure(figsize=(width, 2.3 * rows), layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False, sharey=legend)
    handles = {}
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, (title, cells) in zip(grid.flat, panels.items()):
        for cell in sorted(cells, key=lambda cell: [*names].index(cell['start'])):
            x, y = thinned(curve(cell, key)).T
            style = {**style_of(cell['start'], [*names]), 'marker': ''}
            (line,) = axes.plot(x, y, linewidth=1.2, alpha=0.8, **style)
            handles[names[cell['start']]] = line
        axes.set(title=title, xlabel='step')
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(words.metric_name(key))
    if legend:
        figure.legend([*handles.values()], [*handles], loc='outside right upper')
    return figure


def thinned(points: np.ndarray) -> np.ndarray:
    parts = np.array_split(points, min(POINTS, len(points)))
    return np.stack([part.mean(0) for part in parts])


def draw(builders: Iterator[tuple[str, Figure]]) -> list[tuple[str, str]]:
    """Captions and SVG elements that may stand in one page."""
    drawn: list[tuple[str, str]] = []
    with matplotlib.rc_context(STYLE):
        for caption, figure in builders:
            out = io.StringIO()
            nothing = dict.fromkeys(['Date', 'Creator', 'Format', 'Type'])
            figure.savefig(out, format='svg', metadata=nothing)
            drawn.append((caption, inlined(out.getvalue(), f'figure{len(drawn) + 1}')))
    return drawn


def inlined(svg: str, name: str) -> str:
    """An SVG file as an element in HTML: names are unique, ink is the page's."""
    svg = svg[svg.index('<svg') :].replace(INK, 'currentColor')
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', '', svg)
    svg = re.sub(r' xlink:href=', ' href=', svg)
    return re.sub(r'(\bid="|\bhref="#|url\(#)', rf'\g<1>{name}-', svg)
