"""What a handful of seeds can say: effects, their intervals, and what an interval says of a claim.

Every figure here comes from summaries (mean, standard deviation, number), so that printed tables are judged
by the very functions that judge records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, isinf, isnan, sqrt
from statistics import median_low
from typing import Any, Literal

import numpy as np
from scipy import special

LEVEL = 0.95
WILD = 4
Verdict = Literal["holds", "does not hold", "undecided", "no interval", "not tested"]


@dataclass(frozen=True)
class Sample:
    """One setting's runs: mean, sample standard deviation (n - 1; NaN below two), how many, and one unit of
    the digit to which the mean is rounded (0 if it is not)."""

    name: str
    mean: float
    std: float
    n: int
    digit: float = 0.0

    @property
    def variance(self) -> float:
        """That of the mean. A rounded one may be off by half a digit either way, evenly spread, which adds a
        twelfth of the digit's square."""
        return self.std**2 / self.n + self.digit**2 / 12


Terms = tuple[tuple[float, Sample], ...]


@dataclass(frozen=True)
class Effect:
    """A figure with its interval, which is unbounded where the data give none.

    how     ``"Welch"``, ``"range"`` (smallest and largest of what was measured) or ``"Clopper-Pearson"``
    source  what it was made from: weighted samples, values, or (hits, tries), for `pool`
    """

    value: float
    low: float
    high: float
    how: str
    source: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Region:
    """The effects for which a claim is true: those between `low` and `high`. Where the interval lies below
    `least`, or above `high`, it is false; `least` defaults to `low`."""

    low: float = -inf
    high: float = inf
    least: float | None = None

    def depth(self, effect: Effect) -> float:
        """How far within the region an effect's value lies; negative where it is outside."""
        return min(effect.value - self.low, self.high - effect.value)


def sample(name: str, values: Sequence[float]) -> Sample:
    """The summary of at least one value."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Sample(name, float(np.mean(values)), std, len(values))


def welch(terms: Terms, offset: float = 0.0, level: float = LEVEL) -> Effect:
    """The weighted sum of means, less `offset`, with the interval of Welch and Satterthwaite at `level`.

    For weights 1 and -1 it is Welch's t interval of a difference. A sample that comes twice is one sample.
    Rounding (see `Sample.variance`) adds nothing to the degrees of freedom. Fewer than two runs on a side, or
    no spread on any, give an unbounded interval.
    """
    weights: dict[Sample, float] = {}
    for weight, each in terms:
        weights[each] = weights.get(each, 0.0) + weight
    used = {each: weight for each, weight in weights.items() if weight}
    value = sum(weight * each.mean for each, weight in used.items()) - offset
    if not used or any(each.n < 2 or isnan(each.std) for each in used):
        return Effect(value, -inf, inf, "Welch", terms)
    parts = [(weight * each.std) ** 2 / each.n for each, weight in used.items()]
    if sum(parts) == 0:
        return Effect(value, -inf, inf, "Welch", terms)
    variance = sum(weight**2 * each.variance for each, weight in used.items())
    # Shares of the variance: squares of variances themselves can fall below the smallest double.
    shares = [part / sum(parts) for part in parts]
    freedom = 1 / sum(share**2 / (each.n - 1) for share, each in zip(shares, used, strict=True))
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * sqrt(variance)
    return Effect(value, value - half, value + half, "Welch", terms)


def apart(a: Sample, b: Sample) -> Effect:
    """`a` less `b`, with Welch's interval."""
    return welch(((1.0, a), (-1.0, b)))


def clear(effect: Effect) -> bool:
    """Whether a difference is one: its interval leaves 0 out."""
    return not effect.low <= 0 <= effect.high


def in_words(a: Sample, b: Sample) -> str:
    """How far `a` is from `b` in accuracy, and whether that counts: ``"+0.31 points, 3 seeds, 95 % interval
    +0.10 to +0.52: better"``."""
    points = f"{a.mean - b.mean:+.2f} points"
    if min(a.n, b.n) < 2:
        return f"{points}, on a single seed, which decides nothing"
    effect = apart(a, b)
    words = "better" if effect.value > 0 else "worse"
    told = words if clear(effect) else "not told apart"
    return f"{points}, {min(a.n, b.n)} seeds, {interval(effect)}: {told}"


def interval(effect: Effect) -> str:
    """``"95 % interval +0.10 to +0.52"``."""
    return f"{100 * LEVEL:g} % interval {effect.low:+.2f} to {effect.high:+.2f}"


def extent(values: Sequence[float]) -> Effect:
    """The mean of at least one value, and their range: for what is counted, not sampled, such as FLOPs."""
    return Effect(float(np.mean(values)), min(values), max(values), "range", tuple(values))


def proportion(hits: int, tries: int, level: float = LEVEL) -> Effect:
    """The share of `hits` with Clopper and Pearson's interval at `level`."""
    tail = (1 - level) / 2
    low = float(special.betaincinv(hits, tries - hits + 1, tail)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, tries - hits, 1 - tail)) if hits < tries else 1.0
    return Effect(hits / tries, low, high, "Clopper-Pearson", (hits, tries))


def among(effect: Effect, tests: int) -> Effect:
    """`effect` as one of `tests` comparisons: its interval is wide enough that all of them together stray no
    more often than one at `LEVEL` (Bonferroni). A range stays as it is."""
    level = 1 - (1 - LEVEL) / tests
    if effect.how == "Welch":
        offset = sum(weight * each.mean for weight, each in effect.source) - effect.value
        return welch(effect.source, offset, level)
    if effect.how == "Clopper-Pearson":
        hits, tries = effect.source
        return proportion(hits, tries, level)
    return effect


def pool(effects: Sequence[Effect]) -> Effect:
    """One effect for several settings; all must be of one kind.

    Ranges are joined and shares are added up. Differences are averaged, each setting counting as much as any
    other unless its variance is more than `WILD` times the median one, where it counts by the inverse of its
    variance: a setting in which a seed collapsed then does not drown the others. (Weights by the variance
    alone make the interval too short with three seeds; the tests measure both.) Settings without an interval
    are left out unless none has one.
    """
    how = effects[0].how
    if how == "range":
        return extent([value for each in effects for value in each.source])
    if how == "Clopper-Pearson":
        return proportion(sum(each.source[0] for each in effects), sum(each.source[1] for each in effects))
    known = [each for each in effects if isfinite(each.low)]
    if not known:
        return Effect(float(np.mean([each.value for each in effects])), -inf, inf, "Welch")
    variances = [_variance(each) for each in known]
    raw = [1 / max(variance, _floor(variances)) for variance in variances]
    weights = [each / sum(raw) for each in raw]
    pairs = list(zip(weights, known, strict=True))
    terms = tuple((weight * w, x) for weight, each in pairs for w, x in each.source)
    # An offset, where a setting is compared with a constant, is what its terms do not explain.
    offset = sum(weight * (sum(w * x.mean for w, x in each.source) - each.value) for weight, each in pairs)
    return welch(terms, offset)


def wild(effects: Sequence[Effect]) -> list[Effect]:
    """Those of several differences that `pool` gives less weight than the others, since their seeds lie so
    far apart."""
    known = [each for each in effects if each.how == "Welch" and isfinite(each.low)]
    variances = [_variance(each) for each in known]
    return [each for each, variance in zip(known, variances, strict=True) if variance > _floor(variances)]


def _variance(effect: Effect) -> float:
    return float(sum(w**2 * x.variance for w, x in effect.source))


def _floor(variances: Sequence[float]) -> float:
    return WILD * median_low(variances)


def judge(effect: Effect, region: Region) -> Verdict:
    """Whether a claim holds whose effect has to lie in `region`, by the effect's interval."""
    if isinf(effect.low) and isinf(effect.high):
        return "no interval"
    if region.low < effect.low and effect.high < region.high:
        return "holds"
    least = region.low if region.least is None else region.least
    if effect.high <= least or effect.low >= region.high:
        return "does not hold"
    return "undecided"
