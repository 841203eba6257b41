"""The report's tables and figures, and one of later methods, as rows of settings and the runs they take.

A row is a `RunConfig` at one seed. Rows that several tables share have one `run_id` and so are one run, and
what a run starts from is in its `source`: nothing else is needed to train a table in the right order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from rigl.training.config import DATASETS, ConfigError, RunConfig, choose_protocol, shown

SEEDS = (0, 1, 2)
# Densities at which methods differ: an MLP is large for Fashion-MNIST, a WRN-10-2 is small for CIFAR.
LAPTOP_DENSITIES = {
    "fashion-mnist": (0.02, 0.05, 0.1),
    "cifar10": (0.05, 0.1, 0.2),
    "cifar100": (0.05, 0.1, 0.2),
}


@dataclass(frozen=True)
class Table:
    """A table or figure of the report.

    rows       one setting each: method, distribution, multiplier and further ``field=value``. A row with a
               density is trained at that density only, any other row except dense at all of `densities`;
               ``flops=density`` uses the density as a budget of FLOPs
    datasets   the report's data sets, used under ``paper`` and ``tenth``
    common     fields of all rows
    """

    title: str
    rows: tuple[str, ...]
    densities: tuple[float, ...] = (0.1, 0.2)
    datasets: tuple[str, ...] = ("cifar10",)
    common: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """A search space: bounds of `alpha`; first, last and step of `delta_t`; the number of trials of a study.
    There is a study for each of `densities` and `distributions`, whose trials are averaged over `seeds`."""

    alpha: tuple[float, float]
    delta_t: tuple[int, int, int]
    trials: int
    seeds: tuple[int, ...]
    densities: tuple[float, ...]
    distributions: tuple[str, ...]


BOTH = ("cifar10", "cifar100")
GRID = tuple(
    f"rigl {masks} learning_rate={rate} alpha={alpha} delta_t={delta_t}"
    for masks in ("uniform", "erk")
    for rate in (0.1, 0.05, 0.01, 0.005)
    for alpha, delta_t in ((0.3, 100), (0.4, 200), (0.4, 500), (0.5, 750))
)

TABLES = {
    "table1": Table(
        "Reference and reimplementation, trained on all images",
        ("dense", "static erk", "pruning", "rigl erk"),
        densities=(0.1, 0.2, 0.5),
        common={"validation": 0},
    ),
    "table2": Table(
        "WideResNet-22-2 on CIFAR-10",
        (
            *("small-dense", "static uniform", "set uniform", "rigl uniform", "set erk", "rigl erk"),
            *("static uniform 2x", "lottery", "set uniform 2x", "snfs uniform", "snfs erk"),
            *("snfs uniform 2x", "rigl uniform 2x", "pruning", "rigl erk 2x", "dense"),
        ),
    ),
    "table3": Table(
        "ResNet-50 on CIFAR-100",
        (
            *("static uniform", "small-dense", "set uniform", "rigl uniform", "static erk", "set erk"),
            *("rigl erk", "snfs uniform", "snfs erk", "pruning", "rigl uniform 2x", "lottery"),
            *("rigl uniform 3x", "rigl erk 2x", "dense"),
        ),
        datasets=("cifar100",),
    ),
    "table4": Table(
        "Reference and tuned hyperparameters of RigL on CIFAR-10",
        (
            "rigl uniform",
            "rigl uniform density=0.1 alpha=0.197 delta_t=50",
            "rigl uniform density=0.2 alpha=0.448 delta_t=150",
            "rigl uniform density=0.5 alpha=0.459 delta_t=550",
            "rigl erk",
            "rigl erk density=0.1 alpha=0.416 delta_t=200",
            "rigl erk density=0.2 alpha=0.381 delta_t=950",
            "rigl erk density=0.5 alpha=0.287 delta_t=500",
        ),
        densities=(0.1, 0.2, 0.5),
    ),
    "table5": Table(
        "Redistribution during RigL's updates",
        (
            *("rigl uniform", "rigl-sg uniform", "rigl-sm uniform", "rigl erk", "rigl-sg erk"),
            *("rigl-sm erk", "rigl-reinit uniform", "rigl-reinit erk"),
        ),
        datasets=BOTH,
    ),
    "supplement-table2": Table(
        "Structured sparsity",
        ("small-dense", "rigl uniform", "rigl-struct uniform", "rigl erk", "rigl-struct erk"),
        datasets=BOTH,
    ),
    "figure1": Table(
        "Accuracy against density on CIFAR-10: random masks, ERK masks, twice as long",
        (
            *("static uniform", "set uniform", "snfs uniform", "rigl uniform"),
            *("static erk", "set erk", "snfs erk", "rigl erk"),
            *("static uniform 2x", "set uniform 2x", "rigl uniform 2x", "rigl erk 2x", "pruning", "dense"),
        ),
        densities=(0.05, 0.1, 0.2, 0.5),
    ),
    "figure2": Table(
        "Accuracy against density on CIFAR-100: random masks; ERK masks and longer training",
        (
            *("static uniform", "set uniform", "snfs uniform", "rigl uniform", "snfs erk", "rigl erk"),
            *("rigl uniform 2x", "rigl erk 2x", "rigl uniform 3x", "pruning", "dense"),
        ),
        densities=(0.1, 0.2, 0.5),
        datasets=("cifar100",),
    ),
    "figure3": Table("Learning rate against density", GRID, densities=(0.1, 0.2, 0.5)),
    "figure4": Table(
        "Accuracy at like FLOPs: uniform masks at a density, ERK masks at that share of dense FLOPs",
        ("rigl uniform", "rigl erk flops=density"),
        densities=(0.1, 0.2, 0.5),
        datasets=BOTH,
    ),
    "figure5": Table(
        "What redistribution does to layers and FLOPs",
        ("rigl uniform", "rigl erk", "rigl-sg uniform", "rigl-sm uniform"),
        densities=(0.2,),
    ),
    "later-methods": Table(
        "Methods that came after the report, beside RigL and pruning",
        ("rigl erk", "rigl-global erk", "granet erk", "mest erk", "pruning"),
    ),
}

# Supplementary Figure 1 and the tuned rows of Table 4; the sampler chooses the runs.
TUNING = Space((0.1, 0.6), (50, 1000, 50), 15, SEEDS, (0.1, 0.2, 0.5), ("uniform", "erk"))


def table(name: str) -> Table:
    """The table or figure called `name`, such as ``"table2"``, ``"supplement-table2"`` or ``"figure1"``.

    Raises ConfigError, with the nearest name, if there is none.
    """
    if name in TABLES:
        return TABLES[name]
    if name == "supplement-figure1":
        raise ConfigError(f"{name} is a study, not a list of runs: use the command tune")
    close = get_close_matches(name, TABLES, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(f"table {shown(name)} is unknown{hint}: choose from {', '.join(TABLES)}")


def configs(name: str, **options: Any) -> list[RunConfig]:
    """The distinct runs of a table's or figure's `rows`, in the report's order; `options` as there."""
    return _unique(config for _, config in rows(name, **options))


def rows(
    name: str,
    *,
    protocol: str,
    seed: int = 0,
    densities: Sequence[float] | None = None,
    dataset: str | None = None,
    model: str | None = None,
) -> Iterator[tuple[str, RunConfig]]:
    """Each row of a table or figure with its runs at one seed, one per data set and density, in the report's
    order.

    protocol   ``"paper"``, ``"tenth"``, ``"laptop"`` or ``"smoke"``
    densities  default: the report's, or `LAPTOP_DENSITIES` under ``"laptop"``; rows with a density of their
               own, such as tuned ones, are left out if it is not among `densities`
    dataset    default: the report's data sets, Fashion-MNIST (``"laptop"``) or digits (``"smoke"``)
    model      default: the protocol's

    Raises ConfigError, one line, for invalid arguments.
    """
    found = table(name)
    own = found.datasets if protocol in ("paper", "tenth") else (choose_protocol(protocol, None, False)[1],)
    if dataset is not None and dataset not in DATASETS:
        raise ConfigError(f"dataset={shown(dataset)} is unknown: choose from {', '.join(DATASETS)}")
    if densities is None:
        densities = usual_densities(protocol, dataset or own[0], found.densities)
    shared = {"protocol": protocol, "model": model, "seed": seed, **found.common}
    for text in found.rows:
        for each in (dataset,) if dataset else own:
            for knobs in _settings(text, densities):
                yield text, RunConfig(dataset=each, **shared, **knobs)


def usual_densities(protocol: str, dataset: str, report: Sequence[float]) -> Sequence[float]:
    """The `report`'s densities, or `LAPTOP_DENSITIES` under ``"laptop"``."""
    return LAPTOP_DENSITIES.get(dataset, report) if protocol == "laptop" else report


def runs(names: Iterable[str], *, seeds: Sequence[int] = SEEDS, **options: Any) -> list[RunConfig]:
    """All distinct runs of the tables and figures `names`, in the order in which to train them.

    Runs are ordered by seed, then by density. The source of a run (`RunConfig.source`) comes before it, even
    if it is in no table. `options` are those of `configs`.
    """
    found = []
    for seed in seeds:
        for name in names:
            # Dense is the baseline of all others.
            part = configs(name, seed=seed, **options)
            found += sorted(part, key=lambda config: 0 if config.method == "dense" else _place(config, part))
    return with_sources(found)


def with_sources(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """The distinct runs of `configs`, each preceded by its source."""
    return _unique(each for config in configs for each in (config.source, config) if each is not None)


def _place(config: RunConfig, part: list[RunConfig]) -> int:
    """The position of the density or budget of `config` among those of the rows."""
    sizes = list(dict.fromkeys(_size(each) for each in part if each.method != "dense"))
    return 1 + sizes.index(_size(config))


def _size(config: RunConfig) -> float | None:
    return config.density if config.flops is None else config.flops


def _settings(text: str, densities: Sequence[float]) -> list[dict[str, Any]]:
    """The fields that a row's text describes, at each of its densities."""
    method, *words = text.split()
    knobs: dict[str, Any] = {"method": method}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            knobs[key] = value if value == "density" else float(value) if "." in value else int(value)
        elif times := re.fullmatch(r"(\d)x", word):
            knobs["multiplier"] = int(times[1])
        else:
            knobs["distribution"] = word
    if method == "dense":
        return [knobs]
    if "density" in knobs:
        return [knobs] if knobs["density"] in densities else []
    if knobs.get("flops") == "density":
        return [{**knobs, "flops": density} for density in densities]
    return [{**knobs, "density": density} for density in densities]


def _unique(configs: Iterable[RunConfig]) -> list[RunConfig]:
    return list({config.name: config for config in configs}.values())
