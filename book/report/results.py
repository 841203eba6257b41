"""The results page: one protocol at a time, its tables, whose figures open their runs, and its plots."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from book.report import behind, figures, tables
from rigl.campaign.studies import studies
from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.sparsity.methods import METHODS
from rigl.training import records
from rigl.training.config import FLOAT32, protocol
from rigl.training.project import root
from rigl.training.records import Record

# Methods whose cost changes with the step.
MOVING = tuple(name for name, rule in METHODS.items() if rule.share or rule.prunes)


def folder(name: str = "results") -> Path:
    """The project's folder called `name`."""
    return root() / name


def runs(name: str = "results") -> pd.DataFrame:
    """`records.frame` of the project's folder `name`, and a column `variant`: what a run changed of its
    protocol, such as ``"alpha=0.5"``, and its precision where that is not `usual_precision`, so that no mean
    mixes two settings. What trials of a search changed is
    shown with their study, and left out here. Runs that were given their layers' densities by another run say
    so there, and have ``"as LABEL"`` for a distribution, so that seeds share a row."""
    place = folder(name)
    trials = {run for study in studies(place) for trial in study.trials for run in trial.runs}
    found = [
        (path, record)
        for path, record in records.records(place)
        if record.name not in trials or not record.config.changes("preset")
    ]
    labels = {record.name: record.config.label for _, record in found}
    frame = records.tabulate(found)
    variants = []
    for row, (_, record) in zip(frame.index, found, strict=True):
        given = record.config.distribution_name
        changed = ", ".join(
            filter(None, [record.config.changes("preset", "precision"), other_precision(record)])
        )
        if given not in (None, *DISTRIBUTIONS):
            changed = ", ".join(filter(None, [changed, "densities given"]))
            if label := labels.get(str(record.config.distribution)):
                frame.loc[row, "distribution"] = f"as {label}"
        variants.append(changed)
    return frame.assign(variant=pd.Series(variants, dtype=str))


def usual_precision(protocol: str) -> str:
    """What a protocol's runs compute in where nothing else was asked: bf16 is what a GPU has."""
    return "float32" if protocol in FLOAT32 else "bf16"


def other_precision(record: Record) -> str:
    """``"precision=bf16"``, say, where a run's precision is not the usual one, else nothing."""
    precision = record.provenance.precision
    return "" if precision == usual_precision(record.config.protocol) else f"precision={precision}"


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


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """`tables.spread` of `frame` in words and rounded figures, for people, without the columns that a caption
    names; an accuracy opens its runs."""
    rows = []
    for _, row in tables.spread(frame).sort_values(["density", "distribution", "method"]).iterrows():
        setting, density = tables.setting(row), f"{row['density']:g}"
        label = f"{setting}, density {density}, protocol “{row['protocol']}”"
        accuracy = tables.accuracy(row["mean"], row["std"])
        place = f"all-{row['names'][0]}"  # a run stands in one row
        rows.append(
            {
                "Setting": setting,
                "Density": density,
                "Accuracy, %": behind.runs(accuracy, label, place, behind.of(frame, row["names"])),
                "Seeds": str(row["seeds"]) + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
                "Train FLOPs, x": f"{row['train_flops']:.3f}",
                "Test FLOPs, x": f"{row['test_flops']:.3f}",
            }
        )
    return pd.DataFrame(rows)


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


def show_table(table: pd.DataFrame, text: str, origin: tables.Markup | None = None) -> None:
    """Display a table with its caption and a link to its `origin`, or that it has no runs yet."""
    page = tables.html(table, text, origin) if len(table) else f"<p><em>Nothing yet. {escape(text)}</em></p>"
    figures.emit({"text/html": page}, raw=True)


def show_heading(text: str) -> None:
    """Display a heading within a page's section."""
    figures.emit({"text/html": f"<h3>{escape(text)}</h3>", "text/plain": text}, raw=True)


def show_text(markdown: str) -> None:
    """Display computed sentences."""
    figures.emit({"text/markdown": markdown, "text/plain": markdown}, raw=True)


def outputs(frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """For each data set and model of protocol `name` a table, and plots where there is something to compare,
    each as ``{mimetype: content}``."""
    mine = frame[frame["protocol"] == name]
    if mine.empty:
        return [{"text/html": "<p><em>No runs yet under this protocol.</em></p>"}]
    found = []
    for (dataset, model), part in mine.groupby(["dataset", "model"]):
        settings = readable(part)
        title = escape(f"{model} on {dataset}")
        table = tables.html(settings, caption(name, str(dataset), str(model)))
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
    return found
