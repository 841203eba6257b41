"""The results page: for each protocol its tables, whose accuracies open their runs, and its plots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, figures, names
from book.report.runs import convolutional, settings, usual
from rigl.sparsity.methods import METHODS
from rigl.training.config import protocol
from rigl.training.records import Record


def show(frame: pd.DataFrame, name: str) -> None:
    """Display all that protocol `name` has."""
    for output in outputs(frame, name):
        display.emit(output, raw=True)


def outputs(frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """For each data set and model of protocol `name` a table, and plots where there is something to compare,
    each as ``{mimetype: content}``."""
    return list(_outputs(frame[frame["protocol"] == name], name))


def _outputs(mine: pd.DataFrame, name: str) -> Iterator[dict[str, Any]]:
    if mine.empty:
        yield {"text/html": "<p><em>No runs yet under this protocol.</em></p>"}
    for (dataset, model), part in mine.groupby(["dataset", "model"]):
        place = names.place(str(model), str(dataset))
        found = readable(part)
        table = display.html(found, caption(name, str(dataset), str(model)))
        yield {"text/html": str(Markup("<h3>{}</h3>{}").format(place, table))}
        if len(found) > 1:
            text = f"{place}: test accuracy against density, a marker a run, all that there are."
            yield from figures.outputs(figures.accuracy(part), text)
        if moving := _moving(part):
            sized = f"density {moving[0].config.density:g}, seed {moving[0].config.seed}"
            heading = "<h4>{}: methods whose cost changes while they train, {}</h4>"
            yield {"text/html": str(Markup(heading).format(place, sized))}
            text = f"{place}: forward FLOPs relative to dense at each step of these runs."
            yield from figures.outputs(figures.cost_over_time(*moving), text)


def _moving(part: pd.DataFrame) -> list[Record]:
    """Usual runs whose FLOPs change with the step, at the density and seed with most of them.

    Redistribution changes FLOPs only where weights are used at several positions.
    """
    apart = all(map(convolutional, part["record"]))
    moving = [name for name, rule in METHODS.items() if rule.prunes or (rule.share and apart)]
    mine = usual(part[part["method"].isin(moving) & (part["multiplier"] == 1)])
    if mine.empty:
        return []
    _, chosen = max(mine.groupby(["density", "seed"]), key=lambda group: len(group[1]))
    return list(chosen.sort_values(["method", "distribution"])["record"])


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """`runs.settings` of `frame` in words and rounded numbers, without the columns that a caption names; an
    accuracy opens its runs."""
    rows = []
    for _, row in settings(frame).sort_values(["density", "distribution", "method"]).iterrows():
        setting, density = names.of(row), f"{row['density']:g}"
        label = f"{setting}, density {density}, protocol “{row['protocol']}”"
        found = display.named(frame, row["names"])
        place = f"all-{row['names'][0]}"  # a run stands in one row
        rows.append(
            {
                "Setting": setting,
                "Density": density,
                "Accuracy, %": display.accuracy_of(found, label, place),
                "Seeds": str(row["seeds"]) + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
                "Train FLOPs, x": f"{row['train_flops']:.3f}",
                "Test FLOPs, x": f"{row['test_flops']:.3f}",
            }
        )
    return pd.DataFrame(rows)


def caption(name: str, dataset: str, model: str, *validation: int) -> str:
    """What stands under a table: its protocol in numbers, and whether that is the report's own; `validation`
    is how many images its runs held out, the protocol's number unless given."""
    plan = protocol(name, dataset, model)
    whose = "the report's own protocol" if name == "paper" else "not the report's protocol"
    pooled = f", images mean-pooled by {plan.pool}" if plan.pool > 1 else ""
    counts = [f"{count:,}" if count else "no" for count in sorted(validation or {plan.validation})]
    held_out = f"{' or '.join(counts)} training images held out for validation"
    return (
        f"Protocol “{name}”, {whose}: {names.place(model, dataset)}{pooled}, {plan.epochs} epochs of batches "
        f"of {plan.batch_size}, {held_out}. Test accuracy: mean ± sample standard deviation over seeds; "
        "FLOPs in multiples of the dense network's."
    )
