"""The results page: one protocol at a time, its tables, its plots, and the runs behind them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from rigl import records
from rigl.config import protocol
from rigl.project import root
from rigl.report import figures, tables
from rigl.studies import studies

MOVING = ("snfs", "rigl-sg", "rigl-sm", "pruning")


def folder(name: str = "results") -> Path:
    """The project's folder called `name`."""
    return root() / name


def runs(name: str = "results") -> pd.DataFrame:
    """`records.frame` of the project's folder `name`, and a column `variant`: what a run changed of its
    protocol, such as ``"alpha=0.5"``, so that no mean mixes two settings. What trials of a search changed is
    shown with their study, and left out here."""
    place = folder(name)
    trials = {run for study in studies(place) for trial in study.trials for run in trial.runs}
    found = [
        (path, record)
        for path, record in records.records(place)
        if record.name not in trials or not record.config.changes("preset")
    ]
    variants = [record.config.changes("preset") for _, record in found]
    return records.tabulate(found).assign(variant=pd.Series(variants, dtype=str))


def caption(name: str, dataset: str, model: str, *validation: int) -> str:
    """What stands under a table: its protocol, in figures, and whether that is the report's own; `validation`
    is how many images its runs held out, the protocol's number unless said."""
    plan = protocol(name, dataset, model)
    whose = "the report's own protocol" if name == "paper" else "not the report's protocol"
    pooled = f", images mean-pooled by {plan.pool}" if plan.pool > 1 else ""
    counts = [f"{count:,}" if count else "no" for count in sorted(validation or {plan.validation})]
    held_out = f"{' or '.join(counts)} training images held out for validation"
    return (
        f"Protocol “{name}”, {whose}: {model} on {dataset}{pooled}, {plan.epochs} epochs of batches of "
        f"{plan.batch_size}, {held_out}. Test accuracy: mean ± sample standard deviation over seeds; "
        "FLOPs in multiples of the dense network's."
    )


def provenance(frame: pd.DataFrame) -> pd.DataFrame:
    """Where each figure comes from, a row a run."""
    return pd.DataFrame(
        {
            "Run": [tables.record_link(run["dataset"], run["name"]) for _, run in frame.iterrows()],
            "Device": frame["device"],
            "Precision": frame["precision"],
            "Commit": [tables.commit(run) for _, run in frame.iterrows()],
            "Minutes": [f"{seconds / 60:.1f}" for seconds in frame["wall_seconds"]],
            "Accuracy, %": ["diverged" if pd.isna(x) else f"{x:.2f}" for x in frame["test_accuracy"]],
        }
    )


def show(frame: pd.DataFrame, name: str) -> None:
    """Display all that protocol `name` has."""
    for output in outputs(frame, name):
        figures.emit(output, raw=True)


def _moving(part: pd.DataFrame) -> list[records.Record]:
    """Usual runs of methods whose FLOPs change with the step, at the density and seed with most of them."""
    usual = part[part["method"].isin(MOVING) & (part["variant"] == "") & (part["multiplier"] == 1)]
    usual = usual[usual["preset"] == "repro2021"]
    if usual.empty:
        return []
    _, chosen = max(usual.groupby(["density", "seed"]), key=lambda group: len(group[1]))
    return [records.load(path) for path in chosen.sort_values(["method", "distribution"])["path"]]


def show_table(table: pd.DataFrame, text: str) -> None:
    """Display a table with its caption, or that it has no runs yet."""
    page = tables.html(table, text) if len(table) else f"<p><em>Nothing yet. {escape(text)}</em></p>"
    figures.emit({"text/html": page}, raw=True)


def show_heading(text: str) -> None:
    """Display a heading within a page's section."""
    figures.emit({"text/html": f"<h3>{escape(text)}</h3>", "text/plain": text}, raw=True)


def show_text(markdown: str) -> None:
    """Display computed sentences."""
    figures.emit({"text/markdown": markdown, "text/plain": markdown}, raw=True)


def outputs(frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """For each data set and model of protocol `name` a table, a plot where there is something to compare,
    and the runs behind both, each as ``{mimetype: content}``."""
    mine = frame[frame["protocol"] == name]
    if mine.empty:
        return [{"text/html": "<p><em>No runs yet under this protocol.</em></p>"}]
    found = []
    for (dataset, model), part in mine.groupby(["dataset", "model"]):
        settings = tables.spread(part)
        title = escape(f"{model} on {dataset}")
        table = tables.html(tables.readable(settings), caption(name, str(dataset), str(model)))
        found.append({"text/html": f"<h3>{title}</h3>{table}"})
        if len(settings) > 1:
            text = f"{model} on {dataset}: test accuracy against density, a marker a run, all that there are."
            found += figures.outputs(figures.accuracy(part), text)
        if moving := _moving(part):
            sized = f"density {moving[0].config.density:g}, seed {moving[0].config.seed}"
            heading = f"<h4>{title}: methods whose cost changes while they train, {sized}</h4>"
            found.append({"text/html": heading})
            text = f"{model} on {dataset}: forward FLOPs relative to dense at each step of these runs."
            found += figures.outputs(figures.cost_over_time(*moving), text)
        listing = tables.html(provenance(part), f"Runs of {model} on {dataset}, protocol “{name}”.")
        summary = f"<summary>The runs behind these figures: {len(part)}</summary>"
        found.append({"text/html": f"<details>{summary}{listing}</details>"})
    return found
