"""Frames in, tables out: means and spreads over seeds, never across protocols."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import isnan
from typing import Any

import pandas as pd

KEYS = ["protocol", "dataset", "model", "method", "distribution", "density", "multiplier", "preset"]


def spread(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting of a `records.frame`: what its seeds came to.

    Settings differ in any of `KEYS`, and in the column `variant` where the frame has one. `mean` and
    `std` (the sample's, n - 1; missing for one run) are of the test accuracy in percent over the `seeds`
    finished runs; `diverged` counts the others; the FLOPs ratios are relative to dense; `names` are those
    of the records.
    """
    keys = KEYS + [key for key in ("variant",) if key in frame]
    rows = frame.assign(
        accuracy=pd.to_numeric(frame["test_accuracy"]), diverged=frame["status"].eq("diverged")
    )
    return rows.groupby(keys, dropna=False, as_index=False).agg(
        mean=("accuracy", "mean"),
        std=("accuracy", "std"),
        seeds=("accuracy", "count"),
        diverged=("diverged", "sum"),
        train_flops=("train_flops", "mean"),
        test_flops=("test_flops", "mean"),
        names=("name", tuple),
    )


def label(row: pd.Series) -> str:
    """The method, and whatever sets this row apart from its plain form: ``"rigl, 2x, alpha=0.5"``."""
    parts = [str(row["method"])]
    parts += [f"{row['multiplier']}x"] if row["multiplier"] > 1 else []
    parts += [str(row["preset"])] if row["preset"] != "repro2021" else []
    parts += [str(row["variant"])] if row.get("variant") else []
    return ", ".join(parts)


def setting(row: pd.Series) -> str:
    """The `label`, and the masks: ``"rigl, 2x (erk)"``."""
    masks = row["distribution"]
    return label(row) + (f" ({masks})" if isinstance(masks, str) else "")


def accuracy(mean: float, std: float) -> str:
    """Mean and sample standard deviation in percent, rounded; one run has no spread, none no mean."""
    if isnan(mean):
        return "-"
    return f"{mean:.2f}" if isnan(std) else f"{mean:.2f} ± {std:.2f}"


class Markup(str):
    """A cell that is HTML already, made of escaped text."""

    __slots__ = ()


def html(table: pd.DataFrame, caption: str, origin: Markup | None = None) -> str:
    """A table as HTML that scrolls by itself on a narrow screen; whatever stands in it is escaped, but for
    `Markup`. Up to three leading columns of words are aligned to the left, what comes after them to the
    right. `origin` is a link to what all its figures come from."""
    words = [not table[name].astype(str).str.match(r"[-+]?\d|-$").all() for name in table.columns[:3]]
    labels = words.index(False) if False in words else len(words)
    return framed(plain(table), caption, f"labels-{labels}", origin=origin)


def framed(
    table: str, caption: str, kind: str, *, name: str | None = None, origin: Markup | None = None
) -> str:
    """A table that is HTML already, in a frame that scrolls, above its caption. `kind` is a class of
    ``book.css``: ``"labels-1"`` where all columns but the first are figures, ``"words"`` where none is;
    `name` is what a screen reader calls it, the caption unless said."""
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name or caption)}">'
    below = f"<figcaption>{escape(caption)}{f' {origin}.' if origin else ''}</figcaption>"
    return f'<figure class="numbers {kind}">{region}{table}</div>{below}</figure>'


def plain(table: pd.DataFrame) -> str:
    """A table as HTML and no more; whatever stands in it is escaped, but for `Markup`."""
    safe = table.map(_cell)
    if isinstance(table.columns, pd.MultiIndex):
        safe.columns = pd.MultiIndex.from_tuples(
            [tuple(escape(word) for word in name) for name in table.columns]
        )
    else:
        safe.columns = pd.Index([escape(name) for name in table.columns])
    with pd.option_context("display.max_colwidth", None):
        return str(safe.to_html(index=False, border=0, classes="table", escape=False, justify="left"))


def link(path: str, text: str, spoken: str = "") -> Markup:
    """A link to a file of ``results/``, by its place beside the folder of the notebooks and of their
    pages; `spoken` is what a screen reader says, `text` unless said."""
    label = f' aria-label="{escape(spoken)}"' if spoken else ""
    return Markup(f'<a href="../results/{escape(path)}"{label}>{escape(text)}</a>')


def record_link(dataset: str, name: str, text: str = "") -> Markup:
    """A link to a record; `text` is its name unless said."""
    return link(f"{dataset}/{name}.json", text or name)


def short_link(dataset: str, name: str) -> Markup:
    """The same under the last part of the record's name, its run's id."""
    return record_link(dataset, name, name.rpartition("_")[2])


def seed_link(dataset: str, name: str) -> Markup:
    """The same under the seed in the record's name, as ``"s0"``."""
    seed = name.rpartition("_")[0].rpartition("_")[2] or name
    return link(f"{dataset}/{name}.json", seed, spoken=name)


def printed_link() -> Markup:
    """A link to the report's own figures, likewise."""
    return link("published.json", "the report's figures as data")


def commit(run: Mapping[str, Any] | pd.Series) -> str:
    """The commit of a row of a `records.frame`, or of a benchmark, short, and whether the code had been
    changed since."""
    name = run["commit"][:8] if isinstance(run["commit"], str) else "unknown"
    return name + (" (changed)" if run["clean"] in (False,) else "")


def _cell(value: object) -> str:
    if isinstance(value, Markup):
        return value
    return escape("-" if value is None or value != value else str(value))
