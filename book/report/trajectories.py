"""What layers' densities do while a network trains, from whole records: claims that a frame cannot decide.

Nothing is sampled here, so there is no confidence interval: a claim holds where every run is as it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from book.report.evidence import ALIKE, REDISTRIBUTED, Cell, Setting, Source
from book.report.statistics import Region, extent, judge
from rigl.sparsity.distributions import layer_densities
from rigl.training import records
from rigl.training.records import Record

MOVED = 0.05  # share of the active weights that may still lie in other layers than at the end


def constant(source: Source, region: Region) -> Iterator[Cell]:
    """By how much the cost of a forward pass changes within a run of RigL, in percent."""
    if not source.convolutional:
        yield ALIKE
        return
    for setting in source.like(method="rigl"):
        yield from _cell(setting, region, _change, "the largest over the smallest cost, less 1")


def settles(source: Source, region: Region) -> Iterator[Cell]:
    """After which share of training, in percent, layers' densities stay near those of the end."""
    yield from _redistributed(source, region, _settled, "the first epoch near the end's densities")


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
    if setting.paths:
        effect = extent([measure(records.load(path)) for path in setting.paths])
        few = len(setting.paths) < 2
        yield Cell(
            where=f"{setting.method}, {setting.where}",
            one=f"{effect.value:.1f} ({effect.low:.1f} to {effect.high:.1f})",
            other=what,
            verdict="undecided" if few else judge(effect, region),
            effect=effect,
            seeds=str(len(setting.paths)),
            note="fewer than two seeds" if few else "",
            one_runs=setting.runs,
        )


def _change(record: Record) -> float:
    costs = record.forward_ratio
    if costs:
        return 100 * (max(costs) / min(costs) - 1)
    # Older records have no costs: layers whose densities never change cost what they cost.
    return 100 * max(max(layer.density) / min(layer.density) - 1 for layer in record.layers)


def _settled(record: Record) -> float:
    sizes = [prod(layer.shape) for layer in record.layers]
    final = [layer.density[-1] for layer in record.layers]
    active = sum(n * d for n, d in zip(sizes, final, strict=True))
    first = 0
    for index in range(len(record.density_steps)):
        now = (layer.density[index] for layer in record.layers)
        apart = sum(n * abs(a - b) for n, a, b in zip(sizes, now, final, strict=True))
        if apart / 2 > MOVED * active:
            first = index + 1
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
