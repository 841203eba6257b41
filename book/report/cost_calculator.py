"""The cost calculator: training and inference FLOPs of a method, by the rules and by the runs.

The page's script looks numbers up and puts them into one linear form; the rules stand in
`rigl.sparsity.flops` alone, whose coefficients for each method and Delta-T are part of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, names
from book.report.density_explorer import GRID
from book.report.runs import REFERENCE, published, settings, usual
from rigl.sparsity.distributions import DISTRIBUTIONS, layer_densities
from rigl.sparsity.flops import forward_flops, training_flops
from rigl.sparsity.methods import METHODS
from rigl.sparsity.shapes import Layer, narrowed

NO_DISTRIBUTION = tuple(name for name, rule in METHODS.items() if not rule.distributed)
DELTA_TS = tuple(range(50, 1001, 50))
MULTIPLIERS = (1, 2, 3, 4, 5)
USUAL = int(REFERENCE["delta_t"])  # of the report, and of all runs that are asked here
# Layers keep their densities for the whole of training: cost follows from shapes alone.
FIXED = tuple(
    name
    for name, rule in METHODS.items()
    if rule.masked and rule.distributed and not (rule.share or rule.prunes or rule.source or rule.channels)
)
MOVING = tuple(name for name, rule in METHODS.items() if rule.share)
# Dense gradients at updates only.
UPDATED = tuple(name for name, rule in METHODS.items() if rule.dense_gradients == "updates")
Table = dict[str, Any]  # what `table` makes
START = ("rigl", "erk", 0.1)
NOTHING = ("-", "-", "-")
MISSING = "Depends on the run, and no such run has been made: not run"


def table(
    models: Mapping[str, Sequence[Layer]], frame: pd.DataFrame, densities: Sequence[float] = GRID
) -> Table:
    """Everything that a calculator looks up, as plain JSON-able numbers.

    models  ``{"MODEL on DATASET": layers}``
    frame   of `runs.load`, for methods whose layers' densities follow from the run

    That is, of each model, `dense` forward FLOPs a sample, `entries` by ``"METHOD DISTRIBUTION DENSITY"``,
    where methods of `FIXED` share ``"fixed"``, and what the report prints, by method and with the multiplier
    at the end; and `steps`, for each method and Delta-T what a step costs: (sparse, dense) forward passes.
    """
    return {
        "models": {
            name: {
                "dense": forward_flops(layers),
                "entries": {**_from_runs(name, frame), **_closed(layers, densities)},
                "printed": _printed(name),
            }
            for name, layers in models.items()
        },
        "steps": {
            method: {str(delta_t): _step(method, delta_t) for delta_t in DELTA_TS} for method in METHODS
        },
    }


def cost(
    found: Table,
    model: str,
    method: str,
    distribution: str,
    density: float,
    delta_t: int = USUAL,
    multiplier: int = 1,
) -> dict[str, Any]:
    """What `method` costs on `model`. `distribution` and `density` are ignored where the method has none.

    `training` is FLOPs of a training step, times how much longer training is, and `inference` those of a
    forward pass, both relative to dense; None where no run tells. `dense` is FLOPs a sample of a dense
    forward pass, `printed` the report's training and inference with its table.
    """
    of = found["models"][model]
    entry = of["entries"].get(_key("fixed" if method in FIXED else method, distribution, density))
    theirs = f"{_key(method, distribution, density)} {multiplier}"
    asked = delta_t == USUAL or method not in UPDATED
    made = {
        "training": None,
        "inference": None,
        "dense": of["dense"],
        "origin": MISSING,
        "printed": of["printed"].get(theirs, NOTHING) if asked else NOTHING,
    }
    if entry:
        sparse, dense = found["steps"][method][str(delta_t)]
        made["training"] = multiplier * (sparse * entry["mean"] + dense + entry["source"]) / 3
        made["inference"], made["origin"] = entry["final"], entry["origin"]
    return made


def _key(method: str, distribution: str | None, density: float) -> str:
    masks = "-" if method in NO_DISTRIBUTION or not isinstance(distribution, str) else distribution
    return f"{method} {masks} {1 if method == 'dense' else density:g}"


def _step(method: str, delta_t: int) -> tuple[float, float]:
    """Forward passes, sparse and dense, that a training step costs: the rules are linear in both."""
    return (
        training_flops(method, 0.0, 1.0, delta_t=delta_t),
        training_flops(method, 1.0, 0.0, delta_t=delta_t),
    )


def forward_ratio(layers: Sequence[Layer], method: str, distribution: str, density: float) -> float:
    """Forward FLOPs over dense, of dense, small-dense or a method of `FIXED`: they follow from shapes."""
    dense = forward_flops(layers)
    if method == "dense":
        return 1.0
    if method == "small-dense":
        return forward_flops(narrowed(layers, sqrt(density))) / dense
    return forward_flops(layers, layer_densities(layers, density, distribution)) / dense


def _closed(layers: Sequence[Layer], densities: Sequence[float]) -> dict[str, dict[str, Any]]:
    """What follows from shapes alone."""
    alike = len({layer.positions for layer in layers}) == 1
    found = {_key("dense", None, 1): _entry(1.0, "By the rules")}
    for density in densities:
        small = forward_ratio(layers, "small-dense", "", density)
        found[_key("small-dense", None, density)] = _entry(small, "By the rules, widths cut to integers")
        for distribution in DISTRIBUTIONS:
            ratio = forward_ratio(layers, "fixed", distribution, density)
            found[_key("fixed", distribution, density)] = _entry(ratio, "By the rules")
            for method in MOVING if alike else ():
                why = "By the rules: every weight is used once, so it costs the same in any layer"
                found[_key(method, distribution, density)] = _entry(ratio, why)
    return found


def _from_runs(name: str, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Means over the usual runs of the methods that no closed form covers; of the first of `names.PROTOCOLS`
    that has any of a setting."""
    moving = usual(frame[~frame["method"].isin([*FIXED, "dense", "small-dense"]) & frame["multiplier"].eq(1)])
    moving = moving[(moving["model"] + " on " + moving["dataset"]) == name]
    found: dict[str, dict[str, Any]] = {}
    rows = settings(moving)
    for protocol in names.PROTOCOLS:
        for _, row in rows[rows["protocol"] == protocol].iterrows():
            sparse, dense = _step(row["method"], USUAL)
            training, final = 3 * float(row["train_flops"]), float(row["test_flops"])
            with_source = METHODS[row["method"]].pays_source
            mean = final if with_source else (training - dense) / sparse
            count = f"{len(row['names'])} run{'s' if len(row['names']) > 1 else ''}"
            found.setdefault(
                _key(row["method"], row["distribution"], row["density"]),
                {
                    "mean": mean,
                    "final": final,
                    "source": training - sparse * mean - dense if with_source else 0.0,
                    "origin": f"By the rules from forward FLOPs in {count}, protocol {protocol}, "
                    f"Delta-T {USUAL}, 1x",
                },
            )
    return found


def _entry(ratio: float, origin: str) -> dict[str, Any]:
    """A setting's forward FLOPs relative to dense: averaged over training, and at its end; what training
    something else before cost, relative to a dense forward pass; and where all that comes from."""
    return {"mean": ratio, "final": ratio, "source": 0.0, "origin": origin}


def _printed(name: str) -> dict[str, tuple[str, str, str]]:
    """What the report's tables print for training and inference, and in which table: the first that does."""
    found: dict[str, tuple[str, str, str]] = {}
    rows = published()
    rows = rows[(rows["model"] + " on " + rows["dataset"] == name) & rows["train_flops"].notna()]
    for _, row in rows.iterrows():
        key = f"{_key(row['method'], row['distribution'], row['density'])} {row['multiplier']}"
        where = names.table(row["table"])
        found.setdefault(key, (f"{row['train_flops']:.2f}", f"{row['test_flops']:.2f}", where))
    return found


def rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """A cost in words: what, FLOPs a sample, relative to dense, and the report's number for that; the page's
    script writes the same."""
    made = []
    for name, ratio, passes, theirs in (
        ("training", found["training"], 3, found["printed"][0]),
        ("inference", found["inference"], 1, found["printed"][1]),
    ):
        shown = ("-", "-") if ratio is None else (f"{ratio * passes * found['dense']:.3e}", f"{ratio:.4f}")
        made.append((name, *shown, theirs))
    return made


def html(found: Table) -> Markup:
    """The calculator as standalone HTML."""
    first, (method, masks, density) = next(iter(found["models"])), START
    now = cost(found, first, method, masks, density)
    data = {
        **found,
        "grid": [f"{value:g}" for value in GRID],
        "delta_ts": DELTA_TS,
        "without": NO_DISTRIBUTION,
        "fixed": FIXED,
        "updated": UPDATED,
        "missing": MISSING,
        "nothing": NOTHING,
        "usual": USUAL,
    }
    return display.render(
        "cost_calculator",
        models=[(each, names.title(each)) for each in found["models"]],
        methods=[(each, names.method(each)) for each in METHODS],
        method=method,
        distributions=[(each, names.masks(each)) for each in DISTRIBUTIONS],
        masks=masks,
        density=GRID.index(density),
        delta_t=DELTA_TS.index(USUAL),
        lengths=[(str(multiplier), f"{multiplier}x") for multiplier in MULTIPLIERS],
        rows=rows(now),
        now=now,
        data=data,
    )
