import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_ssl.study.statistics import (
    Difference,
    Spread,
    compare,
    comparisons,
    holm,
    t_bound,
    t_within,
)

from .example import make_results


@pytest.mark.parametrize('df', [1, 2, 3, 4, 5, 9, 30, 101])
def test_students_t_agrees_with_scipy(df):
    stats = pytest.importorskip('scipy.stats')
    for t in (0, 0.01, 0.7, 1, 2.5, 12, 300):
        assert t_within(t, df) == pytest.approx(1 - 2 * stats.t.sf(t, df), abs=1e-13)
    for level in (0.5, 0.95, 0.999):
        assert t_bound(df, level) == pytest.approx(stats.t.ppf((1 + level) / 2, df), rel=1e-9)


def test_students_t_agrees_with_printed_tables():
    for df, bound in {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 30: 2.042}.items():
        assert t_bound(df) == pytest.approx(bound, abs=6e-4)


def test_a_paired_difference_by_hand():
    """Differences 3, 5, 4: mean 4, sd 1, so 4.303 / sqrt(3) to each side."""
    found = Difference.of({0: 13, 1: 16, 2: 18, 7: 99}, {0: 10, 1: 11, 2: 14, 8: 1})
    assert found.by_seed == {0: 3, 1: 5, 2: 4}
    assert found.mean == 4 and found.half == pytest.approx(2.4841, abs=1e-3)
    assert found.clear and not found.clear_among_all  # it stands alone so far


scores = st.dictionaries(st.integers(0, 9), st.floats(0, 100), min_size=2)


@given(scores, scores)
def test_a_paired_difference_agrees_with_scipy(a, b):
    stats = pytest.importorskip('scipy.stats')
    common = sorted({*a} & {*b})
    found = Difference.of(a, b)
    if not common:
        assert found is None
        return
    x, y = ([values[seed] for seed in common] for values in (a, b))
    assert found.mean == pytest.approx(np.mean(x) - np.mean(y), abs=1e-8)
    if len(common) == 1:
        assert found.half is None and found.p is None and not found.clear
        return
    if np.std(np.subtract(x, y)) < 1e-3:  # rounding decides
        return
    expected = stats.ttest_rel(x, y)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-5)
    low, high = expected.confidence_interval(0.95)
    assert found.mean - found.half == pytest.approx(low, abs=1e-4)
    assert found.mean + found.half == pytest.approx(high, abs=1e-4)


def test_intervals_hold_the_truth_nineteen_times_in_twenty():
    draws = np.random.default_rng(0).normal(1.5, 2, (4000, 4))
    found = [Difference.of(dict(enumerate(row)), dict.fromkeys(range(4), 0.0)) for row in draws]
    held = np.mean([abs(difference.mean - 1.5) <= difference.half for difference in found])
    assert held == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize('gap, clear', [(0.0, False), (1.0, True)])
def test_equal_differences_are_no_noise(gap, clear):
    """What subtraction leaves behind the ninth digit is neither a gain nor a spread."""
    base = {0: 0.1, 1: 0.2, 2: 0.3}
    found = Difference.of({seed: x + 1e-15 + gap for seed, x in base.items()}, base)
    assert (found.mean, found.half, found.clear) == (gap, 0, clear)
    assert found.p == (0 if clear else 1)


def test_a_spread():
    assert Spread.of([1, 3]) == Spread(2, 2, math.sqrt(2))
    assert Spread.of([5]) == Spread(1, 5, None)


def test_holms_correction_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holms_correction_lies_between_none_and_bonferronis(p_values):
    for p, corrected in zip(p_values, holm(p_values)):
        assert p <= corrected <= min(1, len(p_values) * p) or corrected == pytest.approx(p)


def described(results):
    """All that is compared, in numbers."""
    return [
        (s.task, s.labels, s.metric, list(s.scores), reference, start, *map(rounded, values))
        for s in compare(results)
        for reference, found in s.against.items()
        for start, d in found.items()
        for values in [(d.mean, d.half, d.p, d.corrected)]
    ]


def rounded(value):
    return None if value is None else round(value, 5)


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False))
def test_the_order_of_cells_does_not_matter(order):
    results = make_results()
    expected = described(results)
    order.shuffle(results['cells'])
    assert described(results) == expected and expected


@settings(deadline=None, max_examples=25)
@given(st.floats(-20, 40))
def test_a_shift_of_all_scores_does_not_matter(shift):
    results = make_results()
    expected = described(results)
    for cell in results['cells']:
        cell['metrics'] = {name: value + shift for name, value in cell['metrics'].items()}
    assert described(results) == expected


def test_settings_come_in_the_studys_order_and_compare_each_pair_once():
    found = compare(make_results(seeds=(0, 1)))
    assert [(s.task, s.labels) for s in found] == [
        ('probe', None),
        ('segmentation', 1.0),
        ('segmentation', 0.25),
        ('detection', 1.0),
        ('detection', 0.25),
    ]
    for setting in found:
        assert list(setting.against['random']) == ['mocov2', 'densecl', 'pixpro']
        assert list(setting.against['mocov2']) == ['densecl', 'pixpro']
        assert setting.best == 'densecl'
    assert len(comparisons(found)) == 25
    assert sorted(d.corrected for d in comparisons(found)) == pytest.approx(
        sorted(holm([d.p for d in comparisons(found)]))
    )


@pytest.mark.parametrize('value', [math.nan, math.inf, None, 'x', True])
def test_what_is_no_number_is_no_score(value):
    results = make_results(methods=('random', 'densecl'), seeds=(0, 1))
    for cell in results['cells']:
        if cell['start'] == 'densecl' and cell['seed'] == 1:
            cell['metrics'] = dict.fromkeys(cell['metrics'], value)
    assert {d.half for s in compare(results) for d in s.against['random'].values()} == {None}


def test_scores_of_unfinished_cells_do_not_count():
    results = make_results()
    rng = random.Random(0)
    for cell in results['cells']:
        cell['state'] = rng.choice(['failed', 'blocked', 'to do', 'running'])
    assert compare(results) == []
