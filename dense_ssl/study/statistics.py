"""What a study's scores say: spreads over seeds and paired differences between starts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

#: Starts that all others are compared with.
REFERENCES = ('random', 'mocov2')


def t_within(t: float, df: int) -> float:
    """Probability of [-t, t] under Student's t (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan2(t, math.sqrt(df))
    odd = df % 2
    term = total = (math.cos(angle) if odd else 1.0) * (df > 1)
    for power in range(2 + odd, df - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def t_bound(df: int, level: float = 0.95) -> float:
    """The t whose [-t, t] holds ``level`` of Student's distribution."""
    low, high = 0.0, math.pi / 2  # the angle is bounded, t is not
    for _ in range(60):
        middle = (low + high) / 2
        if t_within(math.tan(middle) * math.sqrt(df), df) < level:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(df)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, by Holm's step-down rule."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1; none of one value) of a score over seeds."""

    n: int
    mean: float
    sd: Optional[float]

    @classmethod
    def of(cls, values: Iterable[float]) -> 'Spread':
        values = sorted(values)  # the same sum in any order
        n = len(values)
        mean = math.fsum(values) / n
        squares = math.fsum((value - mean) ** 2 for value in values)
        return cls(n, mean, math.sqrt(squares / (n - 1)) if n > 1 else None)


@dataclass(frozen=True)
class Difference:
    """A start's scores less another's, seed by seed.

    Attributes:
        by_seed: The differences, of the seeds that both have.
        mean: Their mean.
        half: Half the width of its 95 % interval (paired t); none of one seed.
        p: Two-sided p-value; none of one seed.
        corrected: ``p`` after Holm's correction, where it was compared among others.
    """

    by_seed: Mapping[int, float]
    mean: float
    half: Optional[float] = None
    p: Optional[float] = None
    corrected: Optional[float] = None

    @classmethod
    def of(
        cls, scores: Mapping[int, float], reference: Mapping[int, float]
    ) -> Optional['Difference']:
        """``None`` without a common seed."""
        # Rounded: what is left of equal differences is no spread.
        by_seed = {
            seed: round(scores[seed] - reference[seed], 9)
            for seed in sorted(scores.keys() & reference.keys())
        }
        if not by_seed:
            return None
        spread = Spread.of(by_seed.values())
        if spread.sd is None:
            return cls(by_seed, spread.mean)
        error = spread.sd / math.sqrt(spread.n)
        p = (
            1 - t_within(abs(spread.mean) / error, spread.n - 1)
            if error
            else float(not spread.mean)
        )
        return cls(by_seed, spread.mean, t_bound(spread.n - 1) * error, max(p, 0.0))

    @property
    def clear(self) -> bool:
        """The 95 % interval leaves 0 out."""
        return self.half is not None and abs(self.mean) > self.half

    @property
    def clear_among_all(self) -> bool:
        return self.clear and self.corrected is not None and self.corrected < 0.05


@dataclass
class Setting:
    """A task with a share of its labels: the scores of all starts, and their differences.

    Attributes:
        scores: By start and seed.
        against: Differences by reference and start.
    """

    task: str
    labels: Optional[float]
    metric: str
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    against: dict[str, dict[str, Difference]] = field(default_factory=dict)

    def spread(self, start: str) -> Spread:
        return Spread.of(self.scores[start].values())

    @property
    def best(self) -> str:
        """The start with the highest mean."""
        return max(self.scores, key=lambda start: self.spread(start).mean)


def starts(results: Mapping) -> list[str]:
    """All starts, in the study's order."""
    named = results['study'].get('methods', ())
    return [*dict.fromkeys([*named, *sorted(cell['start'] for cell in results['cells'])])]


def score(cell: Mapping, metric: str) -> Optional[float]:
    """A finished cell's score; ``None`` without one, or where it is no number."""
    value = (cell.get('metrics') or {}).get(metric) if cell['state'] == 'done' else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def scores_of(cells: Iterable[Mapping], names: Sequence[str], metric: str) -> dict:
    """One metric by start (as ``names`` orders them) and seed."""
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    for cell in cells:
        value = score(cell, metric)
        if value is not None:
            found[cell['start']][cell['seed']] = value
    return {name: dict(sorted(seeds.items())) for name, seeds in found.items() if seeds}


def cells_of(results: Mapping) -> dict[tuple[str, Optional[float]], list[Mapping]]:
    """Cells that score, by task (as the study orders them) and share of labels (descending)."""
    order = [*results['study'].get('tasks', ())]
    found: dict[tuple[str, Optional[float]], list[Mapping]] = {}
    for cell in results['cells']:
        if cell.get('task') in order:
            found.setdefault((cell['task'], cell.get('labels')), []).append(cell)
    return dict(
        sorted(found.items(), key=lambda item: (order.index(item[0][0]), -(item[0][1] or 0)))
    )


def compare(results: Mapping) -> list[Setting]:
    """Every setting that has scores, with all differences to the references."""
    names = starts(results)
    settings = []
    for (task, labels), cells in cells_of(results).items():
        metric = results['study']['tasks'][task]['metric']
        setting = Setting(task, labels, metric, scores_of(cells, names, metric))
        if not setting.scores:
            continue
        for index, reference in enumerate(REFERENCES):
            found = {
                start: Difference.of(scores, setting.scores.get(reference, {}))
                for start, scores in setting.scores.items()
                if start not in REFERENCES[: index + 1]  # each pair once
            }
            kept = {start: difference for start, difference in found.items() if difference}
            if kept:
                setting.against[reference] = kept
        settings.append(setting)
    _correct(settings)
    return settings


def comparisons(settings: Iterable[Setting]) -> list[Difference]:
    """All differences to a reference that have an interval."""
    return [
        difference
        for setting in settings
        for found in setting.against.values()
        for difference in found.values()
        if difference.p is not None
    ]


def _correct(settings: Sequence[Setting]) -> None:
    corrected = iter(holm([difference.p or 0.0 for difference in comparisons(settings)]))
    for setting in settings:
        for found in setting.against.values():
            for start, difference in found.items():
                if difference.p is not None:
                    found[start] = replace(difference, corrected=next(corrected))
