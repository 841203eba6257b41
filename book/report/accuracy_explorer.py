"""The accuracy explorer: test accuracy against FLOPs or density, a mark a setting, ours beside the report's.

Python says what there is; the page's script filters, draws and opens the runs. It needs neither a kernel nor
plotly: a page of the book and a live Jupyter show the same HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, figures, names
from book.report.runs import SEEDS, budgeted, published, settings
from book.report.statistics import Sample, apart, clear, welch
from book.report.tables import OWN, Setup

AXES = {
    "train_flops": "training FLOPs, relative to dense",
    "test_flops": "inference FLOPs, relative to dense",
    "density": "density",
}
SPREADS = {"interval": "95 % interval", "deviation": "standard deviation", "none": "mean alone"}
SHARES = {0.25: "a quarter", 0.5: "half"}
# The report's tables under its own protocol, the main ones first: where two disagree, these are drawn.
TABLES = ("table2", "table3", "table5", "table4", "supplement-table2")
FEW = 3  # settings of which nothing is said
OURS, REPORT = "our runs", "the report"
DASHES = {"uniform": "2 4", "er": "8 4", "erk-flops": "8 4 2 4"}  # ERK, and what has no masks, is solid
Mark = dict[str, Any]
FIRST = ("dense", "small-dense", "static", "set", "snfs", "rigl", "pruning")  # shown when the page opens


def places(setups: Sequence[Setup]) -> list[dict[str, Any]]:
    """Those of `setups` that have anything to draw: the marks of each, and what to see along each axis in
    those that are shown when the page opens."""
    made = []
    for setup in setups:
        marks = _ours(setup) + (_report(setup) if setup.protocol == OWN else [])
        if any(mark["method"] != "dense" for mark in marks):
            opening = [mark for mark in marks if mark["length"] == 1 and _at_first(mark["method"])]
            told = {axis: sentence(opening, axis) for axis in AXES}
            made.append(
                {"title": f"{setup.title}, protocol “{setup.protocol}”", "marks": marks, "told": told}
            )
    return made


def _at_first(method: str) -> bool:
    """Whether a method is shown when the page opens."""
    return method in FIRST or method not in figures.METHODS


def _ours(setup: Setup) -> list[Mark]:
    budget = budgeted(setup.own)
    done = pd.concat([setup.usual, budget[budget["test_accuracy"].notna()]])
    return [
        _mark(OURS, row)
        | {"runs": [_run(run) for _, run in display.named(done, row["names"]).sort_values("seed").iterrows()]}
        for _, row in settings(done).iterrows()
    ]


def _report(setup: Setup) -> list[Mark]:
    place = {"dataset": setup.dataset, "model": setup.model}
    rows = pd.concat([published(table=table, variant="", **place) for table in TABLES])
    rows = rows.rename(columns={"accuracy": "mean"}).assign(seeds=SEEDS)
    rows = rows.drop_duplicates(["method", "distribution", "multiplier", "density"])
    return [_mark(REPORT, row) | {"printed": names.table(row["table"])} for _, row in rows.iterrows()]


def _mark(source: str, row: pd.Series) -> Mark:
    """A setting of one source: accuracy in percent, FLOPs relative to dense (None where the source has none),
    `interval` and `deviation` as half widths (None where one seed gives none); its runs, or where the report
    prints it."""
    masks = row["distribution"] if isinstance(row["distribution"], str) else ""
    found = _sample(source, float(row["mean"]), row["std"], int(row["seeds"]))
    return {
        "source": source,
        "method": row["method"],
        "masks": masks,
        "length": int(row["multiplier"]),
        "name": names.setting(row["method"], masks or None, row["multiplier"]),
        "density": display.short(row["density"]),
        "train_flops": _finite(row["train_flops"]),
        "test_flops": _finite(row["test_flops"]),
        "mean": found.mean,
        "deviation": _finite(found.std),
        "interval": _finite(welch(((1.0, found),)).high - found.mean),
        "seeds": found.n,
        "runs": [],
        "printed": "",
    }


def _sample(source: str, mean: float, std: float, seeds: int) -> Sample:
    return Sample("", mean, std, seeds, display.digit(mean) if source == REPORT else 0.0)


def _finite(value: float) -> float | None:
    return display.short(value) if isfinite(value) else None


def _run(run: pd.Series) -> dict[str, Any]:
    """What a run behind a mark is told by; `accuracy` is None where it diverged."""
    return {
        "address": f"../results/{run['dataset']}/{run['name']}.json",
        "record": run["name"],
        "seed": int(run["seed"]),
        "accuracy": None if pd.isna(run["test_accuracy"]) else float(run["test_accuracy"]),
        "minutes": round(run["wall_seconds"] / 60, 1),
        "device": f"{run['device']}, {run['precision']}",
        "commit": display.commit(run),
    }


def sentence(marks: Sequence[Mark], axis: str) -> str:
    """What to see along `axis`: for each source with several settings the best one at a budget, and whether
    the next one is told apart from it."""
    words: list[str] = []
    for source in (REPORT, OURS):
        mine = [mark for mark in marks if mark["source"] == source]
        sparse = [mark for mark in mine if mark["method"] != "dense"]
        if axis == "density":
            sizes = sorted({mark["density"] for mark in sparse})
            found = {f"at density {size:g}": [m for m in sparse if m["density"] == size] for size in sizes}
        else:
            kind = AXES[axis].partition(",")[0]
            found = {
                f"for at most {share} of the dense network's {kind}": [
                    mark for mark in sparse if mark[axis] is not None and mark[axis] <= limit
                ]
                for limit, share in SHARES.items()
            }
        sized = axis != "density"
        told = [f"{where}, {_best(part, sized)}" for where, part in found.items() if len(part) > FEW]
        top = next((f" (dense: {_percent(mark)})" for mark in mine if mark["method"] == "dense"), "")
        if told:
            begin = "By" if words else "Of the methods ticked at first, by"
            words.append(f"{begin} {source}{top}, {'; '.join(told)}.")
    return " ".join(words)


def _best(part: Sequence[Mark], sized: bool) -> str:
    """The best of a part and the next, with their densities where `sized`."""
    pair = sorted(part, key=lambda mark: -mark["mean"])[:2]
    effect = apart(*(_sample(x["source"], x["mean"], x["deviation"] or nan, x["seeds"]) for x in pair))
    first, second = (mark["name"] + (f" at density {mark['density']:g}" if sized else "") for mark in pair)
    ahead = "ahead of" if clear(effect) else "not told apart from"
    return f"{first} is best, {_percent(pair[0])}, {ahead} {second}, {_percent(pair[1])}"


def _percent(mark: Mark) -> str:
    return f"{display.printed(mark['mean']) if mark['printed'] else display.accuracy(mark['mean'])} %"


def html(found: Sequence[dict[str, Any]], axis: str) -> Markup:
    """The explorer as standalone HTML; it opens with the first place, against `axis` (a key of `AXES`)."""
    marks = [mark for place in found for mark in place["marks"]]
    used = {mark["method"] for mark in marks}
    methods = [*(name for name in figures.METHODS if name in used), *sorted(used - {*figures.METHODS})]
    looks = {name: dict(zip(("colour", "path"), figures.look(name), strict=True)) for name in methods}
    kinds = {mark["masks"] for mark in marks} - {""}
    masks = [*(name for name in names.MASKS if name in kinds), *sorted(kinds - {*names.MASKS})]
    lengths = sorted({mark["length"] for mark in marks})
    often = Counter(mark["density"] for mark in marks)
    densities = [f"{density:g}" for density, number in sorted(often.items()) if number > 2 and density < 1]
    return display.render(
        "accuracy_explorer",
        places=[(index, place["title"]) for index, place in enumerate(found)],
        axes=AXES.items(),
        axis=axis,
        spreads=SPREADS.items(),
        methods=[(name, names.method(name), looks[name], _at_first(name)) for name in methods],
        masks=[(name, names.masks(name)) for name in masks],
        sources=[name for name in (OURS, REPORT) if any(mark["source"] == name for mark in marks)],
        lengths=[*((length, f"{length}x") for length in lengths), ("", "any")],
        densities=[("", "any"), *zip(densities, densities, strict=True)],
        told=found[0]["told"][axis],
        data={"places": found, "looks": looks, "axes": AXES, "dashes": DASHES, "reach": figures.REACH},
    )


def show(setups: Sequence[Setup], axis: str) -> None:
    """Display the explorer of `setups`, or say that there are no runs yet."""
    found = places(setups)
    display.show(html(found, axis) if found else display.parts.note("No runs yet."))
