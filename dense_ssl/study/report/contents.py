"""The sentences and tables of a report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .. import statistics
from ..statistics import Difference, Setting, Spread
from . import words

#: Lines of an error that are shown.
ERROR_LINES = 12


@dataclass(frozen=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    grouped: bool = False  # an empty first cell repeats the one above

    @property
    def numeric(self) -> set[int]:
        """Columns of numbers and what may stand for one."""
        return {
            index
            for index in range(len(self.columns))
            if all(row[index][:1] in '0123456789+\N{MINUS SIGN}' for row in self.rows)
        }


def sentence(setting: Setting, names: Mapping[str, str]) -> str:
    """What came out in one setting."""
    metric, where = words.metric_name(setting.metric), words.setting_name(setting)
    if not setting.against:
        best = setting.best
        score = words.spread_text(setting.spread(best))
        if len(setting.scores) == 1:
            return f'{names[best]}: {metric} {score} ({where}); nothing to compare it with.'
        level = [names[s] for s in setting.scores if standing(setting, s) == 'not clearly behind']
        behind = f'; not clearly behind: {words.listed(level)}' if level else ''
        return f'{names[best]} has the highest {metric}, {score} ({where}){behind}.'
    reference, found = next(iter(setting.against.items()))
    told = {s: d for s, d in found.items() if d.clear or d.half is None}
    unclear = words.listed([names[start] for start in found if start not in told])
    if not told:
        return f'No clear difference in {metric} to {names[reference]} ({where}): {unclear}.'
    ordered = sorted(told, key=lambda start: -told[start].mean)
    gains = [f'{names[start]} {words.short_difference(told[start])}' for start in ordered]
    over = 'over' if told[ordered[0]].mean > 0 else 'against'
    single = '; one seed: no interval' if any(d.half is None for d in told.values()) else ''
    return (
        f'{", ".join(gains)} {metric} {over} {names[reference]} ({where}{single})'
        f'{f"; {unclear}: no clear difference" if unclear else ""}.'
    )


def main_setting(settings: Sequence[Setting]) -> Optional[Setting]:
    """The one to name first. It is chosen by what was asked for, not by what came out: a task
    before the probe, and the fewest labels, of those that have comparisons."""
    return min(
        settings, key=lambda s: (not s.against, s.task == 'probe', s.labels or 1), default=None
    )


def no_scores(results: Mapping) -> str:
    """What to say of a study without scores."""
    cells = results['cells']
    done = sum(cell['state'] == 'done' for cell in cells)
    if results['study'].get('tasks'):
        return f'No scores yet: {done} of {words.counted(len(cells), "cell")} done.'
    return f'Pre-training only: {done} of {words.counted(len(cells), "run")} done, no scores.'


def status(results: Mapping) -> str:
    """What is done; empty where everything is."""
    counts = Counter(cell['state'] for cell in results['cells'])
    total = len(results['cells'])
    if counts['done'] == total:
        return ''
    rest = ', '.join(f'{n} {state}' for state, n in sorted(counts.items()) if state != 'done')
    return f'Unfinished: of {words.counted(total, "cell")} {counts["done"]} are done, {rest}.'


def how_to_read(settings: Sequence[Setting]) -> list[str]:
    """What the intervals mean, and how many there are."""
    if not settings:
        return []
    lines = ['Scores are percent: mean ± standard deviation over the seeds.']
    found = statistics.comparisons(settings)
    if found:
        clear = [difference for difference in found if difference.clear]
        starred = [difference for difference in found if difference.clear_among_all]
        lines += [
            'Differences are taken seed by seed, with 95 % intervals (paired t); clear are those '
            'whose interval leaves 0 out.',
            f'{words.counted(len(found), "comparison")} with an interval: were there no true '
            f'difference at all, about {0.05 * len(found):.1f} would look clear by chance. '
            f'{len(clear)} are clear; marked * are the {len(starred)} that stay so after '
            "Holm's correction for all of them.",
        ]
    elif any(setting.against for setting in settings):
        lines += ['With one seed nothing tells a difference from chance: there is no interval.']
    if found and all(len(difference.by_seed) == 2 for difference in found):
        lines += ['Two seeds make wide intervals: a third narrows them most.']
    if any(words.is_file(start) for setting in settings for start in setting.scores):
        lines += ['Files were pre-trained once: of them the seeds vary the evaluation only.']
    return lines


def standing(setting: Setting, start: str) -> str:
    """'best', or whether a start is clearly behind."""
    best = setting.best
    if len(setting.scores) == 1:
        return ''
    if start == best:
        return 'best'
    behind = Difference.of(setting.scores[start], setting.scores[best])
    if behind is None or behind.half is None:
        return ''
    return 'clearly behind' if behind.clear else 'not clearly behind'


def score_table(settings: Sequence[Setting], names: Mapping[str, str]) -> Optional[Table]:
    """Every start in every setting, with its differences to the references."""
    references = [r for r in statistics.REFERENCES if any(r in s.against for s in settings)]
    columns = ['setting', 'start', 'seeds', 'mean ± sd']
    for reference in references:
        columns += [f'less {names[reference]} [95 %]', 'clear?']
    rows = []
    for setting in settings:
        label = f'{words.setting_name(setting)}: {words.metric_name(setting.metric)}'
        for start in setting.scores:
            spread = setting.spread(start)
            rows.append(
                [
                    label,
                    names[start],
                    str(spread.n),
                    words.spread_text(spread),
                    *(
                        text
                        for reference in references
                        for text in words.difference_texts(
                            setting.against.get(reference, {}).get(start)
                        )
                    ),
                    standing(setting, start),
                ]
            )
            label = ''
    return Table([*columns, 'rank'], rows, grouped=True) if rows else None


def other_scores(results: Mapping, names: Mapping[str, str]) -> Optional[Table]:
    """Mean and spread of the metrics that are not compared."""
    rows = []
    for (task, labels), cells in statistics.cells_of(results).items():
        main = results['study']['tasks'][task]['metric']
        metrics = dict.fromkeys(sorted({m for c in cells for m in c.get('metrics') or {}} - {main}))
        for metric in metrics:
            setting = Setting(task, labels, metric, statistics.scores_of(cells, [*names], metric))
            for start in setting.scores:
                spread = setting.spread(start)
                rows.append(
                    [
                        words.setting_name(setting),
                        words.metric_name(metric),
                        names[start],
                        str(spread.n),
                        words.spread_text(spread),
                    ]
                )
    return Table(['setting', 'score', 'start', 'seeds', 'mean ± sd'], rows) if rows else None


def cost_table(results: Mapping, names: Mapping[str, str]) -> Optional[Table]:
    """What each start cost: images and minutes."""
    rows, totals = [], [0.0, 0.0]
    for start, name in names.items():
        done = [c for c in results['cells'] if c['start'] == start and c['state'] == 'done']
        if not done:
            continue
        runs = [cell for cell in done if cell['kind'] == 'pretrain']
        seen = [cell['images_seen'] for cell in runs if cell.get('images_seen')]
        minutes = [
            sum(cell.get('seconds') or 0 for cell in done if (cell in runs) == pretrain) / 60
            for pretrain in (True, False)
        ]
        totals = [total + more for total, more in zip(totals, minutes)]
        images = f'{Spread.of(seen).mean:,.0f}' if seen else ''
        rows.append([name, str(len(runs)), images, *(f'{value:.1f}' for value in minutes)])
    if len(rows) > 1:
        rows.append(['all', '', '', *(f'{value:.1f}' for value in totals)])
    columns = ['start', 'pre-trainings', 'images seen in each']
    columns += ['minutes of pre-training', 'minutes of evaluation']
    return Table(columns, rows) if rows else None


def faults(results: Mapping) -> list[tuple[str, str]]:
    """What failed, was held up or left no score: heading and end of the error."""
    found = []
    tasks = results['study'].get('tasks', {})
    for cell in results['cells']:
        error = (cell.get('error') or '').strip()
        metric = tasks.get(cell.get('task'), {}).get('metric')
        if cell['state'] in ('failed', 'blocked'):
            lines = error.splitlines()
            cut = ['…'] if len(lines) > ERROR_LINES else []
            found.append((f'{cell["id"]}: {cell["state"]}', '\n'.join(cut + lines[-ERROR_LINES:])))
        elif cell['state'] == 'done' and metric and statistics.score(cell, metric) is None:
            found.append((f'{cell["id"]}: done, but without a score', f'{metric} is no number'))
    return found


def waiting(results: Mapping) -> list[str]:
    """Cells that are not over."""
    return [
        f'{cell["id"]} ({cell["state"]})'
        for cell in results['cells']
        if cell['state'] not in ('done', 'failed', 'blocked')
    ]


def facts(results: Mapping) -> Table:
    """What the study was made with."""
    study = results['study']
    rows = [['images', study.get('images')], ['seeds', ', '.join(map(str, study.get('seeds', [])))]]
    rows += [[f'budget: {key}', value] for key, value in (study.get('budget') or {}).items()]
    rows += [[name, version] for name, version in sorted((study.get('versions') or {}).items())]
    return Table(['made with', ''], [[k, str(v)] for k, v in rows if v not in (None, '')])


SCORE_COLUMNS = 'cell start seed task labels metric score images_seen seconds config'.split()


def score_rows(results: Mapping) -> list[list]:
    """A line for every score, as ``results.csv`` has it."""
    return [
        [
            cell['id'],
            cell['start'],
            cell['seed'],
            cell['task'],
            cell['labels'],
            metric,
            statistics.score(cell, metric),
            cell.get('images_seen'),
            cell.get('seconds'),
            cell.get('config'),
        ]
        for cell in results['cells']
        for metric in cell.get('metrics') or {}
        if cell.get('task') and statistics.score(cell, metric) is not None
    ]
