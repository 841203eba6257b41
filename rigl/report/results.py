"""The results page: one protocol at a time, its tables, its plots, and the runs behind them."""

from __future__ import annotations

import pandas as pd

from rigl import records
from rigl.config import RunConfig, protocol
from rigl.report import figures, tables
from rigl.report.project import root


def runs(folder: str = "results") -> pd.DataFrame:
    """`records.frame` of the project's `folder`, and a column `variant`: what a run changed of its
    protocol, such as ``"alpha=0.5"``, so that no mean mixes two settings."""
    place = root() / folder
    frame = records.frame(place)
    known = {record.name: variant(record.config) for _, record in records.records(place)}
    return frame.assign(variant=frame["name"].map(known).astype(str))


def variant(config: RunConfig) -> str:
    """The knobs that are not as the protocol, the table's own columns and the seed make them."""
    usual = RunConfig(**{key: getattr(config, key) for key in (*tables.KEYS, "seed")})
    return ", ".join(
        f"{key}={value}" for key, value in config.model_dump().items() if value != getattr(usual, key)
    )


def caption(name: str, dataset: str, model: str) -> str:
    """What stands under a table: its protocol, in figures, and whether that is the report's own."""
    plan = protocol(name, dataset, model)
    whose = "the report's own protocol" if name == "paper" else "not the report's protocol"
    pooled = f", images mean-pooled by {plan.pool}" if plan.pool > 1 else ""
    held_out = f"{plan.validation:,} training images held out for validation"
    return (
        f"Protocol “{name}”, {whose}: {model} on {dataset}{pooled}, {plan.epochs} epochs of batches of "
        f"{plan.batch_size}, {held_out}. Test accuracy: mean ± sample standard deviation over seeds."
    )


def provenance(frame: pd.DataFrame) -> pd.DataFrame:
    """Where each figure comes from, a row a run."""
    commit = frame["commit"].fillna("unknown").str.slice(0, 8)
    changed = frame["clean"].map({False: " (changed)"}).fillna("")
    return pd.DataFrame(
        {
            "Run": frame["name"],
            "Device": frame["device"],
            "Precision": frame["precision"],
            "Commit": commit + changed,
            "Minutes": [f"{seconds / 60:.1f}" for seconds in frame["wall_seconds"]],
            "Accuracy, %": ["diverged" if pd.isna(x) else f"{x:.2f}" for x in frame["test_accuracy"]],
        }
    )


def show(frame: pd.DataFrame, name: str) -> None:
    """Display all that protocol `name` has: for each data set and model a table, two plots, the runs."""
    from IPython.display import HTML, display

    mine = frame[frame["protocol"] == name]
    if mine.empty:
        display(HTML("<p><em>No runs yet under this protocol.</em></p>"))
    for (dataset, model), part in mine.groupby(["dataset", "model"]):
        under = caption(name, dataset, model)
        display(HTML(tables.html(tables.readable(tables.spread(part)), under)))
        for against in figures.AXES:
            figures.show(figures.accuracy(part, against))
        listing = tables.html(provenance(part), f"Runs of {model} on {dataset}, protocol “{name}”.")
        display(HTML(f"<details><summary>{len(part)} runs behind these figures</summary>{listing}</details>"))
