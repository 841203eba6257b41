"""Intervals against scipy's own, and what they say of a claim."""

from math import inf, isfinite, sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from book.report.statistics import (
    LEVEL,
    Effect,
    Region,
    Sample,
    among,
    extent,
    judge,
    pool,
    proportion,
    sample,
    welch,
)

accuracies = st.lists(st.floats(10, 99).map(lambda x: round(x, 2)), min_size=2, max_size=6)


def difference(left, right):
    return welch(((1.0, sample("left", left)), (-1.0, sample("right", right))))


@settings(max_examples=40)
@given(left=accuracies, right=accuracies)
def test_a_difference_has_welchs_interval(left, right):
    assume(np.std(left) > 0.01 or np.std(right) > 0.01)
    effect = difference(left, right)
    theirs = stats.ttest_ind(left, right, equal_var=False).confidence_interval(LEVEL)
    assert effect.value == pytest.approx(np.mean(left) - np.mean(right))
    assert (effect.low, effect.high) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-9)


@settings(max_examples=40)
@given(left=accuracies, right=accuracies, tests=st.integers(1, 20))
def test_one_of_many_comparisons_has_bonferronis_interval(left, right, tests):
    assume(np.std(left) > 0.01 or np.std(right) > 0.01)
    effect = among(difference(left, right), tests)
    theirs = stats.ttest_ind(left, right, equal_var=False).confidence_interval(1 - (1 - LEVEL) / tests)
    assert (effect.low, effect.high) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-6)
    assert among(extent([1.0, 2.0]), tests) == extent([1.0, 2.0])
    assert among(proportion(1, 3), tests).low <= proportion(1, 3).low


def test_one_sample_against_a_constant_has_students_interval():
    values = [93.1, 93.4, 92.9]
    effect = welch(((1.0, sample("ours", values)),), 93.0)
    theirs = stats.ttest_1samp(values, 93.0).confidence_interval(LEVEL)
    assert (effect.low + 93, effect.high + 93) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("left", [[88.0], [88.0, 88.0]])
def test_one_seed_or_no_spread_gives_no_interval(left):
    effect = difference(left, [87.0] * len(left))
    assert (effect.value, effect.low, effect.high) == (1.0, -inf, inf)
    printed = welch(((1.0, Sample("no spread printed", 94.6, float("nan"), 3)),), 94.1)
    assert not isfinite(printed.low)


def test_a_rounded_mean_is_less_certain_by_what_rounding_takes():
    exact, rounded = Sample("a", 92.4, 0.06, 3), Sample("b", 92.4, 0.06, 3, digit=0.1)
    plain, wider = (welch(((1.0, each),), 92.0) for each in (exact, rounded))
    draws = np.random.default_rng(0).uniform(-0.05, 0.05, 10**6)
    extra = np.var(draws)  # of what rounding to 0.1 took away
    half = stats.t.ppf((1 + LEVEL) / 2, 2) * sqrt(0.06**2 / 3 + extra)
    assert wider.value == plain.value == pytest.approx(0.4)
    assert wider.high - wider.value == pytest.approx(half, rel=1e-3)
    assert wider.low < plain.low
    # Rounding alone is no spread: an interval needs seeds that differ.
    assert welch(((1.0, Sample("c", 92.4, 0.0, 3, digit=0.1)),)).low == -inf


def test_a_sample_on_both_sides_counts_once():
    shared = sample("shared", [80.0, 90.0, 85.0])
    other = sample("other", [80.0, 81.0, 82.0])
    left = welch(((0.5, shared), (-1.0, other), (0.5, shared)))
    right = difference([80.0, 90.0, 85.0], [80.0, 81.0, 82.0])
    assert (left.low, left.high) == pytest.approx((right.low, right.high))
    gone = welch(((1.0, shared), (1.0, other), (-1.0, shared)))
    assert gone.low == pytest.approx(welch(((1.0, other),)).low)


def test_settings_alike_weigh_alike_and_a_collapsed_one_hardly():
    alike = [difference([90.0 + i, 90.2 + i, 90.4 + i], [89.0, 89.2, 89.4]) for i in (0, 1, 2)]
    assert pool(alike).value == pytest.approx(2.0)
    assert pool(alike).high - pool(alike).low < alike[0].high - alike[0].low
    collapsed = difference([92.0, 92.2, 92.4], [92.0, 92.2, 65.0])
    both = pool([*alike, collapsed])
    assert both.value == pytest.approx(2.0, abs=0.2)
    assert both.low > 0 > collapsed.low
    assert pool([alike[0]]) == alike[0]


def test_settings_without_an_interval_are_left_out_unless_all_are():
    known, single = difference([90.0, 90.2], [89.0, 89.2]), difference([50.0], [89.0])
    assert pool([known, single]).value == pytest.approx(1.0)
    assert pool([single]).value == -39
    assert not isfinite(pool([single]).low)


def test_offsets_survive_pooling():
    ours = [welch(((1.0, sample(str(x), [x, x + 0.2])),), x) for x in (90.0, 93.0)]
    assert pool(ours).value == pytest.approx(0.1)


@pytest.mark.parametrize("wild", [False, True])
def test_pooled_intervals_cover_the_truth_as_often_as_they_say(wild):
    """Six settings of three seeds, without and with a side whose seeds collapse; the truth is 0."""
    random, covered, tries = np.random.default_rng(0), 0, 300
    for _ in range(tries):
        draws = random.normal(90, 0.2, (6, 2, 3))
        if wild:
            draws[0, 0] = random.normal(90, 13, 3)
        effect = pool(
            [
                welch(tuple((w, sample(f"{i}{w}", x)) for w, x in zip((1, -1), each, strict=True)))
                for i, each in enumerate(draws)
            ]
        )
        covered += effect.low < 0 < effect.high
    assert covered / tries == pytest.approx(LEVEL, abs=3 * sqrt(LEVEL * (1 - LEVEL) / tries))


def test_what_is_counted_has_a_range_and_shares_add_up():
    assert pool([extent([1.0, 2.0]), extent([4.0])]) == extent([1.0, 2.0, 4.0])
    assert extent([1.0, 2.0, 4.0]).low == 1.0
    both = pool([proportion(1, 3), proportion(0, 3)])
    exact = stats.binomtest(1, 6).proportion_ci(LEVEL, method="exact")
    assert (both.low, both.high) == pytest.approx((exact.low, exact.high))
    assert (proportion(0, 3).low, proportion(3, 3).high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "region", "verdict"),
    [
        (0.1, 0.5, Region(low=0), "holds"),
        (-0.1, 0.5, Region(low=0), "undecided"),
        (-0.5, -0.1, Region(low=0), "does not hold"),
        (-0.5, 0.05, Region(low=0, least=0.1), "does not hold"),
        (0.01, 0.05, Region(low=0, least=0.1), "holds"),
        (-0.4, 0.4, Region(low=-0.5, high=0.5), "holds"),
        (-0.4, 0.6, Region(low=-0.5, high=0.5), "undecided"),
        (0.6, 0.9, Region(low=-0.5, high=0.5), "does not hold"),
        (-inf, inf, Region(low=0), "no interval"),
        (-inf, inf, Region(high=0), "no interval"),
    ],
)
def test_a_verdict_is_where_the_interval_lies(low, high, region, verdict):
    assert judge(Effect(0.0, low, high, "Welch"), region) == verdict


@settings(max_examples=40)
@given(left=accuracies, right=accuracies, up=st.floats(0, 50))
def test_more_is_never_worse_for_better(left, right, up):
    assume(isfinite(difference(left, right).low))
    order = ["does not hold", "undecided", "holds"]
    region = Region(low=0, least=0.1)
    before = judge(difference(left, right), region)
    after = judge(difference([x + up for x in left], right), region)
    assert order.index(after) >= order.index(before)


@settings(max_examples=40)
@given(left=accuracies, right=accuracies)
def test_fewer_points_never_hold_what_more_do_not(left, right):
    """What lies within a margin lies within every wider one."""
    effect = difference(left, right)
    assume(isfinite(effect.low))
    verdicts = [judge(effect, Region(low=-m, high=m)) for m in (0.1, 0.5, 2.0, 100.0)]
    assert verdicts == sorted(verdicts, key=["does not hold", "undecided", "holds"].index)
