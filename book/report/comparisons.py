"""What each claim compares: cells from one source, each judged by the claim's region.

What layers' densities do while a network trains is counted, not sampled, so that there is no confidence
interval: a claim about it holds where every run is as it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import inf, log, prod

from book.report import names
from book.report.evidence import (
    ALIKE,
    REDISTRIBUTED,
    REPORT,
    TUNED,
    Cell,
    Setting,
    Source,
    at_like_cost,
    compared,
    counted,
    dearness,
    difference,
    ratio,
    reported,
    untested,
    versus,
)
from book.report.statistics import Region, extent, judge, share, welch
from rigl.sparsity.distributions import layer_densities
from rigl.training.records import Record

MOVED = 0.05  # share of the active weights that may still lie in other layers than at the end
SPARSE = 0.1  # density at and below which SET is said to be unstable
RATE = 0.1  # the learning rate of every protocol
NEAR = 0.1  # share of its last density that a layer may still be away from it
PARITY = 0.5  # density at which RigL is said to be on a par with the dense network


def against(method: str, other: str) -> Callable[[Source, Region], Iterable[Cell]]:
    return lambda source, region: versus(source, region, {"method": method}, {"method": other})


def twice_as_long(source: Source, region: Region) -> Iterable[Cell]:
    one = {"method": "rigl", "distribution": "erk", "multiplier": 2}
    return versus(
        source, region, one, {"method": "pruning", "distribution": None, "multiplier": 1}, like_cost=True
    )


def longer(source: Source, region: Region) -> Iterable[Cell]:
    for multiplier in sorted({each.multiplier for each in source.settings} - {1}):
        one = {"method": "rigl", "multiplier": multiplier}
        other = {"method": "pruning", "distribution": None, "multiplier": 1}
        yield from versus(source, region, one, other, like_cost=True)


def parity(source: Source, region: Region) -> Iterable[Cell]:
    """RigL at `PARITY` against the dense network."""
    dense = next(iter(source.like(method="dense", multiplier=1)), None)
    for each in source.like(method="rigl", density=PARITY, multiplier=1):
        if dense:
            yield difference(each.where, region, each, dense)


def tickets(source: Source, region: Region) -> Iterable[Cell]:
    return versus(source, region, {"method": "lottery"}, {"method": "pruning"})


def narrow(source: Source, region: Region) -> Iterable[Cell]:
    """RigL against a small dense network of like cost; `where` says what RigL costs in terms of it."""
    for left in source.like(method="rigl", multiplier=1):
        right = source.partner(left, method="small-dense", distribution=None)
        if right:
            cell = difference(left.where, region, left, right)
            times = ratio(left, right)
            if times:
                cell = replace(cell, where=f"{cell.where}, at {times:.2g} times its cost")
            yield at_like_cost(cell, left, right)


def masks_over_method(source: Source, region: Region) -> Iterable[Cell]:
    """SET with ERK against RigL with uniform masks: how much more the choice of masks changes than that of
    the method, since (ERK less uniform) less (RigL less SET), each averaged over the other choice, is just
    that."""
    for left in source.like(method="set", distribution="erk", multiplier=1):
        right = source.partner(left, method="rigl", distribution="uniform")
        if right:
            yield difference(f"density {left.density:g}", region, left, right)


def tuned(source: Source, region: Region) -> Iterable[Cell]:
    for best in source.like(variant=TUNED):
        usual = source.partner(best, variant="")
        if usual:
            yield difference(usual.where, region, usual, best)


def learning_rate(rate: float) -> Callable[[Source, Region], Iterable[Cell]]:
    """`rate` against the best other one, at each density, distribution and other knobs."""
    return lambda source, region: _against_best(source, region, rate)


def _against_best(source: Source, region: Region, rate: float) -> Iterable[Cell]:
    for rates in _by_rate(source):
        mine = rates.pop(rate, None)
        if mine and rates:
            best, other = max(rates.items(), key=lambda pair: pair[1].validation)
            where = names_without_rate(mine)
            yield difference(f"{where}, against {best:g}", region, mine, other)


def names_without_rate(setting: Setting) -> str:
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


def equal_parameters(source: Source, region: Region) -> Iterable[Cell]:
    for method in ("static", "set", "rigl"):
        one = {"method": method, "distribution": "erk"}
        for cell in versus(source, region, one, {"distribution": "uniform"}):
            yield replace(cell, where=f"{names.method(method)}, {cell.where.removeprefix('ERK, ')}")


def equal_flops(source: Source, region: Region) -> Iterable[Cell]:
    """Uniform against ERK in runs with one budget; where there are none, ERK against a line between two
    densities of uniform masks, in the logarithm of training FLOPs."""
    if not source.convolutional:
        return [untested("without convolutions FLOPs are parameters: both masks cost alike")]
    budgets = sorted({each.variant for each in source.settings if each.variant.startswith("flops=")})
    cells = [
        replace(cell, where=f"budget {budget.removeprefix('flops=')}")
        for budget in budgets
        for cell in versus(
            source,
            region,
            {"method": "rigl", "distribution": "uniform", "variant": budget},
            {"distribution": "erk"},
        )
    ]
    return cells or list(_interpolated(source, region))


def _interpolated(source: Source, region: Region) -> Iterable[Cell]:
    def cost(setting: Setting) -> float:
        return sum(setting.costs) / len(setting.costs)

    usual = {"method": "rigl", "multiplier": 1}
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
            cell = compared(where, region, terms, low, high, erk)
            sides = f"{low.text} and {high.text}"
            # Accuracy flattens with cost: a curve through the two lies above their line.
            verdict = "undecided" if cell.verdict == "does not hold" else cell.verdict
            yield replace(
                cell,
                floor=True,
                verdict=verdict,
                one=sides,
                other=erk.text,
                one_runs=low.runs + high.runs,
                other_runs=erk.runs,
            )


def redistributed(masks: str, **other: str) -> Callable[[Source, Region], Iterable[Cell]]:
    """Redistribution from `masks` against RigL that is `other`."""

    def find(source: Source, region: Region) -> Iterable[Cell]:
        for method in REDISTRIBUTED:
            one = {"method": method, "distribution": masks}
            for cell in versus(source, region, one, {"method": "rigl", **other}):
                yield replace(cell, where=f"{names.method(method)}, {cell.where}")

    return find


def redistribution_costs(source: Source, region: Region) -> Iterable[Cell]:
    if not source.convolutional:
        yield ALIKE
        return
    for method in REDISTRIBUTED:
        for cell in dearness(source, region, {"method": method}, {"method": "rigl"}):
            yield replace(cell, where=f"{names.method(method)}, {cell.where}")


def small_dense(source: Source, region: Region) -> Iterable[Cell]:
    other = {"method": "small-dense", "distribution": None}
    return versus(source, region, {"method": "rigl-struct"}, other, like_cost=True)


def collapses(source: Source, region: Region) -> Iterable[Cell]:
    for each in source.like(method="set"):
        if each.multiplier > 1 and each.density is not None and each.density <= SPARSE:
            tries = each.accuracy.n
            rigl = source.partner(each, method="rigl")
            other = f"{rigl.collapsed} of {rigl.accuracy.n}" if rigl else "-"
            cell = counted(
                each.where,
                share(each.collapsed, tries),
                region,
                (f"{each.collapsed} of {tries}", other),
                each,
            )
            yield replace(cell, other_runs=rigl.runs if rigl else ())


def original(source: Source, region: Region) -> Iterable[Cell]:
    """Means of runs on all training images against what the report says the original code reaches."""
    if source.protocol not in ("paper", REPORT) or source.dataset != "cifar10":
        return
    theirs = [each for table in reported("table1") for each in table.settings]
    variant = "" if source.protocol == REPORT else "validation=0"
    for target in theirs:
        ours = source.partner(target, variant=variant)
        if ours:
            effect = welch(((1.0, ours.accuracy),), target.original)
            few = ours.accuracy.n < 2
            note = "fewer than two seeds" if few else "no spread printed" if effect.low == -inf else ""
            yield Cell(
                where=target.label,
                one=ours.text,
                other=f"{target.original:g}",
                verdict=judge(effect, region),
                effect=effect,
                seeds=(ours.accuracy.n,),
                note=note,
                one_runs=ours.runs,
            )


def weights_settle(source: Source, region: Region) -> Iterator[Cell]:
    """After which share of training, in percent, nearly all weights lie in the layers where they end."""
    yield from _redistributed(source, region, _weights_settled, "the first step near the end's counts")


def layers_settle(source: Source, region: Region) -> Iterator[Cell]:
    """After which share of training, in percent, each layer's density stays near its last one."""
    yield from _redistributed(source, region, _layers_settled, "the first step with every layer near its end")


def extreme(source: Source, region: Region) -> Iterator[Cell]:
    """In how many layers, in percent, densities end beyond ERK's, seen from uniform ones."""
    yield from _redistributed(source, region, _beyond, "layers beyond ERK")


def _redistributed(
    source: Source, region: Region, measure: Callable[[Record], float], what: str
) -> Iterator[Cell]:
    for method in REDISTRIBUTED:
        for setting in source.like(method=method):
            yield from _cell(setting, region, measure, what)


def _cell(setting: Setting, region: Region, measure: Callable[[Record], float], what: str) -> Iterator[Cell]:
    if setting.records:
        effect = extent([measure(record) for record in setting.records])
        shown = f"{effect.value:.1f} ({effect.low:.1f} to {effect.high:.1f})"
        yield counted(setting.label, effect, region, (shown, what), setting)


def _weights_settled(record: Record) -> float:
    sizes = [prod(layer.shape) for layer in record.layers]
    active = sum(n * layer.density[-1] for n, layer in zip(sizes, record.layers, strict=True))

    def far(at: int) -> bool:
        pairs = zip(sizes, record.layers, strict=True)
        return sum(n * abs(x.density[at] - x.density[-1]) for n, x in pairs) / 2 > MOVED * active

    return _settled(record, far)


def _layers_settled(record: Record) -> float:
    return _settled(
        record,
        lambda at: any(abs(x.density[at] - x.density[-1]) > NEAR * x.density[-1] for x in record.layers),
    )


def _settled(record: Record, far: Callable[[int], bool]) -> float:
    """The first recorded step after the last at which densities are still `far` from the end's, in percent of
    all steps."""
    first = max((at + 1 for at in range(len(record.density_steps)) if far(at)), default=0)
    return 100 * record.density_steps[first] / record.density_steps[-1]


def _beyond(record: Record) -> float:
    density = record.config.density or record.density
    erk = layer_densities([layer.plain for layer in record.layers], density, "erk")
    hits = []
    for layer in record.layers:
        wanted, found = erk[layer.name], layer.density[-1]
        if wanted < 1:  # no layer can keep more than all its weights
            hits.append(found > wanted if wanted > density else found < wanted)
    return 100 * sum(hits) / len(hits) if hits else 0.0
