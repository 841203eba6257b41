"""What puts things on a page: HTML from `templates/`, tables, links, and the runs behind a number.

An output is the same in a page of the book and in a live Jupyter, but for plotly figures (`figures.show`) and
the density explorer, which is made of widgets where there is a kernel.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from math import isclose, isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rigl.training.project import root

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.policies["json.dumps_kwargs"] = {}  # keep the order of keys
parts: Any = TEMPLATES.get_template("parts.html").module  # its macros, called as functions


def in_book() -> bool:
    """Whether the book is being built, so that readers have no kernel."""
    return bool(os.environ.get("RIGL_BOOK"))


def folder(name: str = "results") -> Path:
    """The project's folder called `name`."""
    return root() / name


def read(name: str) -> Any:
    """What the file of ``results/`` called `name` holds."""
    return json.loads((folder() / name).read_text(encoding="utf-8"))


def render(template: str, **values: Any) -> Markup:
    """The template ``templates/TEMPLATE.html`` with `values`, which are escaped unless they are `Markup`."""
    return Markup(TEMPLATES.get_template(f"{template}.html").render(values))


def emit(output: Any, *, raw: bool = False) -> None:
    """Display something in a notebook; `raw` for a ``{mimetype: content}``."""
    from IPython.display import display

    display(output, raw=raw)  # type: ignore[no-untyped-call]


def show(page: str) -> None:
    """Display HTML."""
    emit({"text/html": str(page)}, raw=True)


def show_text(markdown: str) -> None:
    """Display computed sentences."""
    emit({"text/markdown": markdown, "text/plain": markdown}, raw=True)


def show_heading(text: str) -> None:
    """Display a heading within a page's section."""
    emit({"text/html": str(parts.heading(text)), "text/plain": text}, raw=True)


def show_table(table: pd.DataFrame, caption: str, origin: Markup | None = None, kind: str = "") -> None:
    """Display a table as `html` makes it, or say that there are no runs yet."""
    show(html(table, caption, origin, kind) if len(table) else parts.note(f"Nothing yet. {caption}"))


def html(table: pd.DataFrame, caption: str, origin: Markup | None = None, kind: str = "") -> Markup:
    """A table above its caption, in a frame that scrolls; cells are escaped unless they are `Markup`.

    origin  a link to the source of all its numbers
    kind    a class of ``book.css``: ``"words"`` if all columns are words, ``"labels-N"`` if the first N are;
            by default this is determined from the cells
    """
    words = [not table[name].astype(str).str.match(r"[-+]?\d|-$").all() for name in table.columns[:3]]
    labels = words.index(False) if False in words else len(words)
    return framed(plain(table), caption, kind or f"labels-{labels}", origin=origin)


def spread(ratio: Mapping[str, float], digits: int = 3) -> Markup:
    """A benchmark's median, and its quartiles in a line below it."""
    median, low, high = (f"{ratio[key]:.{digits}f}" for key in ("median", "low", "high"))
    return lines(median, parts.small(f"{low} to {high}"))


def lines(*cells: str) -> Markup:
    """What a cell of a table has on several lines."""
    return Markup("<br>").join(cells)


def framed(table: str, caption: str, kind: str, *, name: str = "", origin: Markup | None = None) -> Markup:
    """A table that is HTML already, framed as in `html`; a screen reader calls it `name`, or else its
    caption."""
    return render(
        "framed", table=Markup(table), caption=caption, kind=kind, name=name or caption, origin=origin
    )


def plain(table: pd.DataFrame) -> Markup:
    """A table as HTML and no more, on one line a row; cells are escaped unless they are `Markup`."""
    safe = table.map(lambda cell: escape("-" if cell is None or cell != cell else cell))
    safe.columns = table.columns.map(
        lambda name: tuple(map(escape, name)) if isinstance(name, tuple) else escape(name)
    )
    with pd.option_context("display.max_colwidth", None):
        return Markup(safe.to_html(index=False, border=0, classes="table", escape=False, justify="left"))


def accuracy(mean: float, std: float = float("nan")) -> str:
    """Mean and sample standard deviation in percent; one run has no deviation, none no mean."""
    if isnan(mean):
        return "-"
    return f"{mean:.2f}" if isnan(std) else f"{mean:.2f} ± {std:.2f}"


def digit(mean: float) -> float:
    """One unit of the last digit of an accuracy that the report prints: it prints few with two decimals."""
    return 0.1 if isclose(mean, round(mean, 1)) else 0.01


def printed(mean: float, std: float = float("nan")) -> str:
    """An accuracy as the report prints it: with one decimal unless it has two, a deviation with two."""
    if isnan(mean):
        return "-"
    short = f"{mean:.1f}" if digit(mean) == 0.1 else f"{mean:.2f}"
    return short if isnan(std) else f"{short} ± {std:.2f}"


def link(path: str, text: str, spoken: str = "") -> Markup:
    """A link to a file of ``results/``, which lies beside the notebooks and beside their pages; a screen
    reader says `spoken`, or else `text`."""
    return Markup(parts.link(f"../results/{path}", text, spoken=spoken))


def record_link(dataset: str, name: str, text: str = "") -> Markup:
    """A link to a record under `text`, or else under the last part of its name, its run's id."""
    return link(f"{dataset}/{name}.json", text or name.rpartition("_")[2], spoken=name if text else "")


def printed_link() -> Markup:
    """A link to the report's own figures."""
    return link("published.json", "the report's numbers as data")


def csv_link(data: str, name: str) -> Markup:
    """A link that saves `data` under `name`."""
    return Markup(parts.link(f"data:text/csv;charset=utf-8,{quote(data)}", "Data as csv", download=name))


def short(value: float) -> float:
    """A number as a page's script gets it: four digits are more than a plot shows."""
    return float(f"{value:.4g}")


def commit(run: Mapping[str, Any] | pd.Series) -> str:
    """The commit of a run or a benchmark, short, and whether the code had been changed since."""
    name = run["commit"][:8] if isinstance(run["commit"], str) else "unknown"
    return name + (" (changed)" if run["clean"] in (False,) else "")


def opened(shown: str, label: str, place: str, content: str) -> Markup:
    """`shown` as a button that opens `content` under the heading `label`, on one line; `place` sets it apart
    from every other button of the page."""
    target = re.sub(r"\s+", "-", place)
    page = render("opened", shown=shown, label=label, target=target, content=Markup(content))
    # On one line: pandas keeps a cell's line breaks as text.
    return Markup("").join(line.strip() for line in page.splitlines())


def runs_behind(shown: str, label: str, place: str, found: pd.DataFrame) -> Markup:
    """`shown` as a button that opens the runs `found`: a link to the record, seed, accuracy, time, device and
    commit of each."""
    lines = [
        {
            "Record": record_link(run["dataset"], run["name"]),
            "Seed": run["seed"],
            "Accuracy, %": "diverged" if pd.isna(run["test_accuracy"]) else f"{run['test_accuracy']:.2f}",
            "Minutes": f"{run['wall_seconds'] / 60:.1f}",
            "Device": f"{run['device']}, {run['precision']}",
            "Commit": commit(run),
        }
        for _, run in found.sort_values("seed").iterrows()
    ]
    return opened(shown, label, place, plain(pd.DataFrame(lines)))


def accuracy_of(found: pd.DataFrame, label: str, place: str) -> Markup:
    """Mean and deviation of the test accuracy of `found`, as a button that opens these runs."""
    values = found["test_accuracy"].astype(float).dropna()
    shown = accuracy(values.mean(), values.std()) if len(values) else "diverged"
    return runs_behind(shown, label, place, found)


def named(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The rows of `frame` that are the records called `names`."""
    return frame[frame["name"].isin(list(names))]
