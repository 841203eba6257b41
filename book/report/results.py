"""Every run in one table that readers filter and sort, and as data to take away."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from book.report import display, names
from rigl.training.config import protocol

CSV, ARCHIVE = "records.csv", "records.zip"
FULL = ("Test FLOPs, x", "Minutes", "Commit")  # columns of the csv alone: a page has no room for them
CHOICES = ("Protocol", "Data", "Network", "Method", "Masks")  # columns that a reader can filter by


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame`, as `runs.load` gives it, in words and rounded numbers, a row a run."""
    rows = [
        {
            "Protocol": run["protocol"],
            "Data": names.dataset(run["dataset"]),
            "Network": names.network(run["model"]),
            "Method": names.method(run["method"]),
            "Masks": names.masks(run["distribution"]),
            "Density": f"{run['density']:g}",
            "Length": f"{run['multiplier']}x",
            "Changed": _changed(run),
            "Seed": str(run["seed"]),
            "Accuracy, %": "diverged" if pd.isna(run["test_accuracy"]) else f"{run['test_accuracy']:.2f}",
            "Train FLOPs, x": f"{run['train_flops']:.3f}",
            "Test FLOPs, x": f"{run['test_flops']:.3f}",
            "Minutes": f"{run['wall_seconds'] / 60:.1f}",
            "Commit": display.commit(run),
            "Record": f"{run['dataset']}/{run['name']}.json",
        }
        for _, run in frame.iterrows()
    ]
    return pd.DataFrame(rows)


def _changed(run: pd.Series) -> str:
    preset = "" if run["preset"] == names.PRESET else f"preset {run['preset']}"
    return ", ".join(filter(None, [preset, names.changed(run["variant"])])) or "-"


def html(frame: pd.DataFrame) -> Markup:
    """The table with its controls, and links to all of it as one file; the records lie where `save` puts
    them."""
    found = table(frame)
    if found.empty:
        return Markup(display.parts.note("No runs yet."))
    choices = [(name, sorted(set(found[name]))) for name in CHOICES]
    files = [(CSV, "all rows as csv"), (ARCHIVE, "all records as zip")] if display.in_book() else []
    shown = found.drop(columns=list(FULL))
    data = {"heads": list(shown), "rows": shown.to_numpy().tolist()}
    return display.render("records", choices=choices, count=len(found), files=files, data=data)


def save(frame: pd.DataFrame, folder: Path, target: Path) -> None:
    """Write all of `frame` as `CSV`, and it with the records in `folder` as `ARCHIVE`, to the folder
    `target`."""
    target.mkdir(parents=True, exist_ok=True)
    table(frame).to_csv(target / CSV, index=False)
    with zipfile.ZipFile(target / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(target / CSV, CSV)
        for path in (folder / "published.json", *sorted(folder.glob("[!.]*/*.json"))):
            archive.write(path, path.relative_to(folder))


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
