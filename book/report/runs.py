"""What the pages are made of: the runs' records and the report's own numbers, each loaded once into a frame.

Whatever the book needs of `rigl.campaign` is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from book.report import display, names
from book.report.statistics import Sample
from rigl.campaign import experiments
from rigl.campaign.studies import REFERENCE, Settings, Study, Trial, studies
from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.training import records
from rigl.training.config import FLOAT32, RunConfig
from rigl.training.records import Record

__all__ = ["REFERENCE", "Settings", "Study", "Trial", "experiments", "studies"]  # rigl's, for the pages
SETTING = ("dataset", "model", "method", "distribution", "density", "multiplier")
SEEDS = len(experiments.SEEDS)  # behind every mean of the report's tables
KNOBS = [knob for knob in RunConfig.model_fields if knob not in (*records.COLUMNS, "distribution", "flops")]
EXTRA = ["distribution", *KNOBS, "budget", "variant", "record", "searched"]  # columns that `load` adds
KEYS = ["protocol", "dataset", "model", "method", "distribution", "multiplier", "preset", "variant", "size"]


def load(folder: Path | None = None, *, searched: bool = False) -> pd.DataFrame:
    """The records in `folder`, or in the project's, a row each: the columns of `records.tabulate`, and

    alpha, delta_t, ...  every other knob of the run's config; `budget` is its budget of forward FLOPs
    variant              what the run changed of its protocol, as ``"alpha=0.5"``, and its precision if that
                         is not `expected_precision`, so that no mean mixes two settings
    searched             whether the run belongs to a hyperparameter study alone; such runs are left out
                         unless asked for
    record               the whole record

    A run that takes its layer densities from another run has the distribution ``"as LABEL"``, so that seeds
    share a setting. Damaged files are left out, with a warning.
    """
    place = folder or display.folder()
    trials = {run for study in studies(place) for trial in study.trials for run in trial.runs}
    found = [
        (path, record, record.name in trials and bool(record.config.changes("preset")))
        for path, record in records.records(place)
    ]
    found = [each for each in found if searched or not each[2]]
    frame = records.tabulate((path, record) for path, record, _ in found)
    labels = {record.name: record.config.label for _, record, _ in found}
    made = [(*_extra(record, labels), alone) for _, record, alone in found]
    extra = pd.DataFrame(made, columns=EXTRA, index=frame.index)
    frame = frame.drop(columns="distribution").join(extra).astype({"variant": object, "searched": bool})
    return frame.copy()  # with the columns of a kind as one block: tables take rows of it thousands of times


def _extra(record: Record, labels: dict[str, str]) -> list[Any]:
    """What `load` adds for a record, in the order of `EXTRA`, but for its last."""
    config, distribution = record.config, record.config.distribution_name
    changed = [config.changes("preset", "precision")]
    if record.provenance.precision != expected_precision(config.protocol):
        changed.append(f"precision={record.provenance.precision}")
    if distribution not in (None, *DISTRIBUTIONS):
        changed.append("densities given")
        if label := labels.get(str(config.distribution)):
            distribution = f"as {label}"
    knobs = [getattr(config, knob) for knob in KNOBS]
    return [distribution, *knobs, config.flops, ", ".join(filter(None, changed)), record]


def expected_precision(protocol: str) -> str:
    """What a protocol's runs compute in unless told otherwise: bf16 is what a GPU has."""
    return "float32" if protocol in FLOAT32 else "bf16"


def usual(frame: pd.DataFrame, *variants: str) -> pd.DataFrame:
    """The runs that change nothing but what the report's tables name: method, masks, density and length; also
    those of `variants`, such as ``"densities given"``."""
    return frame[frame["variant"].isin(["", *variants]) & frame["preset"].eq(names.PRESET)]


def budgeted(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs that have a budget of FLOPs and are otherwise usual."""
    return frame[
        frame["variant"].str.fullmatch(r"flops=[\d.e-]+").fillna(False).astype(bool)
        & frame["preset"].eq(names.PRESET)
    ]


def settings(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting: runs that differ by seed alone.

    `mean` and `std` (n - 1; missing for one run) are of the test accuracy in percent over the `seeds`
    finished runs, and `diverged` counts the others; `density`, `train_flops` and `test_flops` are means,
    FLOPs relative to dense; `accuracies`, `costs` (training FLOPs), `names` and `records` have an entry a
    run, by seed; `validation` is the mean validation accuracy in percent.
    """
    rows = frame.sort_values("seed", kind="stable").assign(
        size=frame["density"].where(~frame["variant"].str.startswith("flops=").astype(bool)),
        accuracy=pd.to_numeric(frame["test_accuracy"]),
        validated=pd.to_numeric(frame["validation_accuracy"]),
        diverged=frame["status"].eq("diverged"),
    )
    return rows.groupby(KEYS, dropna=False, as_index=False).agg(
        density=("density", "first"),
        mean=("accuracy", "mean"),
        std=("accuracy", "std"),
        seeds=("accuracy", "count"),
        diverged=("diverged", "sum"),
        train_flops=("train_flops", "mean"),
        test_flops=("test_flops", "mean"),
        validation=("validated", "mean"),
        accuracies=("accuracy", tuple),
        costs=("train_flops", tuple),
        names=("name", tuple),
        records=("record", tuple),
    )


def convolutional(record: Record) -> bool:
    """Whether weights are used at several positions, so that FLOPs and weights part ways."""
    return any(len(layer.shape) > 2 for layer in record.layers)


def published(**equal: Any) -> pd.DataFrame:
    """The report's own numbers: a row of `experiments.rows` each, under the names that runs have here.

    Accuracy and its standard deviation over three seeds are in percent, FLOPs and wall times relative to
    dense; what a table does not give is missing. `variant` is what a row changes of the protocol, such as
    tuned hyperparameters. `equal` keeps the rows whose columns have these values, e.g.
    ``published(table="table2", method="rigl")``. Raises ValueError for an unknown column.
    """
    path = display.folder() / "published.json"
    frame = _published(path, path.stat().st_mtime_ns)
    for column, value in equal.items():
        if column not in frame:
            raise ValueError(f"{column!r} is not a column: choose from {', '.join(map(str, frame))}")
        frame = frame[frame[column] == value]
    return frame.reset_index(drop=True)


def printed_sample(name: str, row: Mapping[str, Any] | pd.Series) -> Sample:
    """The accuracy in a row of `published`, which is rounded, with its deviation."""
    mean = float(row["accuracy"])
    return Sample(name, mean, float(row.get("std", nan)), SEEDS, display.digit(mean))


@cache
def _published(path: Path, _: int) -> pd.DataFrame:
    """The rows of the file at `path`, read once until it changes."""
    made = []
    for table, printed in json.loads(path.read_text())["tables"].items():
        numbers = {(each.pop("row"), each.pop("dataset"), each.pop("density")): each for each in printed}
        if len(numbers) < len(printed):
            raise ValueError(f"{path}: {table} has a row twice")
        for text, config in experiments.rows(table, protocol="paper"):
            setting = {key: getattr(config, key) for key in SETTING}
            found = numbers.pop((text, config.dataset, config.density), None)
            if found is None:
                raise ValueError(f"{path}: {table} has no number for {text}, density {config.density}")
            made.append(
                {"table": table, "row": text, **setting, "variant": config.changes("validation"), **found}
            )
        if numbers:
            raise ValueError(f"{path}: {table} has no row {next(iter(numbers))[0]}")
    return pd.DataFrame(made)


def train(names: Sequence[str], *, seeds: Sequence[int], **options: Any) -> list[str]:
    """Train what the tables `names` lack, and say what came of it; `options` are those of
    `experiments.configs`."""
    from rigl.campaign import runner  # torch, which a page that only shows does without

    outcome = runner.run(experiments.runs(names, seeds=seeds, **options), results=display.folder())
    return outcome.lines()
