"""What each claim compares: cells from one source, which the claim's finding judges (`claims.finding`).

What layers' densities do while a network trains is counted, not sampled, so that there is no confidence
interval: a claim about it holds where every run is as it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf, log, prod
from statistics import fmean
from typing import Any

from book.report import names
from book.report.evidence import (
    ALIKE,
    REDISTRIBUTED,
    TUNED,
    Cell,
    Setting,
    Source,
    at_like_cost,
    compared,
    counted,
    dearness,
    difference,
    pairs,
    ratio,
    reported,
    untested,
    versus,
)
from book.report.statistics import extent, proportion, welch
from rigl.sparsity.distributions import layer_densities
from rigl.training.records import Record

Comparison = Callable[[Source], Iterable[Cell]]
MOVED = 0.05  # share of the active weights that may still lie in other layers than at the end
SPARSE = 0.1  # density at and below which SET is said to be unstable
RATE = 0.1  # the learning rate of every protocol
NEAR = 0.1  # share of its last density that a layer may still be away from it
PARITY = 0.5  # density at which RigL is said to be on a par with the dense network
PRUNING = {"method": "pruning", "distribution": None, "multiplier": 1}
SMALL = {"method": "small-dense", "distribution": None}


def against(method: str, other: str) -> Comparison:
    return lambda source: versus(source, {"method": method}, {"method": other})


def twice_as_long(source: Source) -> Iterable[Cell]:
    one = {"method": "rigl", "distribution": "erk", "multiplier": 2}
    return versus(source, one, PRUNING, like_cost=True)


def longer(source: Source) -> Iterable[Cell]:
    for multiplier in sorted({each.multiplier for each in source.settings} - {1}):
        yield from versus(source, {"method": "rigl", "multiplier": multiplier}, PRUNING, like_cost=True)


def parity(source: Source) -> Iterable[Cell]:
    """RigL at `PARITY` against the dense network."""
    dense = next(iter(source.like(method="dense", multiplier=1)), None)
    for each in source.like(method="rigl", density=PARITY, multiplier=1):
        if dense:
            yield difference(each.where, each, dense)


def narrow(source: Source) -> Iterable[Cell]:
    """RigL against a small dense network of like cost; `where` says what RigL costs in terms of it."""
    for left, right in pairs(source, {"method": "rigl", "multiplier": 1}, SMALL):
        times = ratio(left, right)
        where = f"{left.where}, at {times:.2g} times its cost" if times else left.where
        yield at_like_cost(difference(where, left, right), left, right)


def masks_over_method(source: Source) -> Iterable[Cell]:
    """SET with ERK against RigL with uniform masks: how much more the choice of masks changes than that of
    the method, since (ERK less uniform) less (RigL less SET), each averaged over the other choice, is just
    that."""
    one = {"method": "set", "distribution": "erk", "multiplier": 1}
    for left, right in pairs(source, one, {"method": "rigl", "distribution": "uniform"}):
        yield difference(f"density {left.density:g}", left, right)


def tuned(source: Source) -> Iterable[Cell]:
    for best, usual in pairs(source, {"variant": TUNED}, {"variant": ""}):
        yield difference(usual.where, usual, best)


def learning_rate(rate: float) -> Comparison:
    """`rate` against the best other one, at each density, distribution and other knobs."""

    def find(source: Source) -> Iterable[Cell]:
        for rates in _by_rate(source):
            mine = rates.pop(rate, None)
            if mine and rates:
                best, other = max(rates.items(), key=lambda pair: pair[1].validation)
                yield difference(f"{_without_rate(mine)}, against {best:g}", mine, other)

    return find


def _without_rate(setting: Setting) -> str:
    """Where a setting stands, but for its learning rate."""
    parts = setting.where.split(", ")
    return ", ".join(part for part in parts if not part.startswith("learning_rate="))


def _by_rate(source: Source) -> Iterable[dict[float, Setting]]:
    """RigL's settings by learning rate, for each density, distribution, length, alpha and Delta-T."""
    groups: dict[tuple[object, ...], dict[float, Setting]] = {}
    for each in source.settings:
        if each.variant == TUNED:  # picked among the very settings that are gathered here
            continue
        knobs = dict(part.split("=") for part in each.variant.split(", ") if "=" in part)
        if each.method == "rigl" and not set(knobs) - {"alpha", "delta_t", "learning_rate"}:
            rate = float(knobs.pop("learning_rate", RATE))
            place = (each.distribution, each.density, each.multiplier, tuple(sorted(knobs.items())))
            groups.setdefault(place, {})[rate] = each
    return groups.values()


def equal_parameters(source: Source) -> Iterable[Cell]:
    for method in ("static", "set", "rigl"):
        one = {"method": method, "distribution": "erk"}
        for left, right in pairs(source, one, {"distribution": "uniform"}):
            yield difference(left.label.replace(", ERK", "", 1), left, right)


def equal_flops(source: Source) -> Iterable[Cell]:
    """Uniform against ERK in runs with one budget; where there are none, ERK against a line between two
    densities of uniform masks, in the logarithm of training FLOPs."""
    if not source.convolutional:
        return [untested("without convolutions FLOPs are parameters: both masks cost alike")]
    budgets = sorted({each.variant for each in source.settings if each.variant.startswith("flops=")})
    cells = []
    for budget in budgets:
        one = {"method": "rigl", "distribution": "uniform", "variant": budget}
        for left, right in pairs(source, one, {"distribution": "erk"}):
            cells.append(difference(f"budget {budget.removeprefix('flops=')}", left, right))
    return cells or _interpolated(source)


def _interpolated(source: Source) -> Iterable[Cell]:
    def cost(setting: Setting) -> float:
        return fmean(setting.costs)

    usual: dict[str, Any] = {"method": "rigl", "multiplier": 1}
    # Uniform masks at density 1 are the dense network.
    line = [*source.like(distribution="uniform", **usual), *source.like(method="dense", multiplier=1)]
    line = sorted((each for each in line if each.costs), key=cost)
    for erk in source.like(distribution="erk", **usual):
        below = [each for each in line if erk.costs and cost(each) <= cost(erk)]
        above = [each for each in line if erk.costs and cost(each) > cost(erk)]
        if below and above:
            low, high = below[-1], above[0]
            part = log(cost(erk) / cost(low)) / log(cost(high) / cost(low))
            terms = ((1 - part, low.accuracy), (part, high.accuracy), (-1.0, erk.accuracy))
            where = f"ERK, density {erk.density:g}, {cost(erk):.2f} x, interpolated"
            yield replace(
                compared(where, terms, low, high, erk),
                floor=True,  # accuracy flattens with cost: a curve through the two lies above their line
                one=f"{low.text} and {high.text}",
                other=erk.text,
                one_runs=low.runs + high.runs,
                other_runs=erk.runs,
            )


def redistributed(masks: str, **other: str) -> Comparison:
    """Redistribution from `masks` against RigL that is `other`."""

    def find(source: Source) -> Iterable[Cell]:
        for method in REDISTRIBUTED:
            one = {"method": method, "distribution": masks}
            for left, right in pairs(source, one, {"method": "rigl", **other}):
                yield difference(left.label, left, right)

    return find


def redistribution_costs(source: Source) -> Iterable[Cell]:
    if not source.convolutional:
        yield ALIKE
        return
    for method in REDISTRIBUTED:
        for cell in dearness(source, {"method": method}, {"method": "rigl"}):
            yield replace(cell, where=f"{names.method(method)}, {cell.where}")


def snfs_costs(source: Source) -> Iterable[Cell]:
    return dearness(source, {"method": "snfs"}, {"method": "rigl"})


def small_dense(source: Source) -> Iterable[Cell]:
    return versus(source, {"method": "rigl-struct"}, SMALL, like_cost=True)


def collapses(source: Source) -> Iterable[Cell]:
    for each in source.like(method="set"):
        if each.multiplier > 1 and each.density is not None and each.density <= SPARSE:
            tries = each.accuracy.n
            rigl = source.partner(each, method="rigl")
            sides = (
                f"{each.collapsed} of {tries}",
                f"{rigl.collapsed} of {rigl.accuracy.n}" if rigl else "-",
            )
            cell = counted(each.where, proportion(each.collapsed, tries), sides, each)
            yield replace(cell, other_runs=rigl.runs if rigl else ())


def original(source: Source) -> Iterable[Cell]:
    """Means of runs on all training images against what the report says the original code reaches."""
    if not (source.printed or source.protocol == "paper") or source.dataset != "cifar10":
        return
    theirs = [each for table in reported("table1") for each in table.settings]
    variant = "" if source.printed else "validation=0"
    for target in theirs:
        ours = source.partner(target, variant=variant)
        if ours:
            effect = welch(((1.0, ours.accuracy),), target.original)
            few = ours.accuracy.n < 2
            yield Cell(
                where=target.label,
                one=ours.text,
                other=f"{target.original:g}",
                effect=effect,
                seeds=(ours.accuracy.n,),
                note="fewer than two seeds" if few else "no spread printed" if effect.low == -inf else "",
                one_runs=ours.runs,
            )


def measured(measure: Callable[[Record], float], what: str) -> Comparison:
    """What `measure` finds in the runs that redistribute; `what` says what that is."""

    def find(source: Source) -> Iterable[Cell]:
        for method in REDISTRIBUTED:
            for setting in source.like(method=method):
                if setting.records:
                    effect = extent([measure(record) for record in setting.records])
                    shown = f"{effect.value:.1f} ({effect.low:.1f} to {effect.high:.1f})"
                    yield counted(setting.label, effect, (shown, what), setting)

    return find


def weights_settled(record: Record) -> float:
    """After which share of training, in percent, nearly all weights lie in the layers where they end."""
    sizes = [prod(layer.shape) for layer in record.layers]
    active = sum(n * layer.density[-1] for n, layer in zip(sizes, record.layers, strict=True))

    def far(at: int) -> bool:
        pairs = zip(sizes, record.layers, strict=True)
        return sum(n * abs(x.density[at] - x.density[-1]) for n, x in pairs) / 2 > MOVED * active

    return 100 * _settled(record, far) / record.density_steps[-1]


def layers_settled(record: Record) -> float:
    """After which share of training, in percent, each layer's density stays near its last one."""
    return 100 * settling_step(record) / record.density_steps[-1]


def settling_step(record: Record) -> int:
    """The step from which on no layer's density is further than `NEAR` of itself from its last."""
    return _settled(
        record,
        lambda at: any(abs(x.density[at] - x.density[-1]) > NEAR * x.density[-1] for x in record.layers),
    )


def _settled(record: Record, far: Callable[[int], bool]) -> int:
    """The first recorded step after the last at which densities are still `far` from the end's."""
    return record.density_steps[
        max((at + 1 for at in range(len(record.density_steps)) if far(at)), default=0)
    ]


def beyond_erk(record: Record) -> float:
    """In how many layers, in percent, densities end beyond ERK's, seen from uniform ones."""
    density = record.config.density or record.density
    erk = layer_densities([layer.plain for layer in record.layers], density, "erk")
    hits = []
    for layer in record.layers:
        wanted, found = erk[layer.name], layer.density[-1]
        if wanted < 1:  # no layer can keep more than all its weights
            hits.append(found > wanted if wanted > density else found < wanted)
    return 100 * sum(hits) / len(hits) if hits else 0.0
