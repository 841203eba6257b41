"""One mask update of a small matrix, step by step (made by `rigl.training.worked`).

One data function, `stage_table`, feeds both forms: a page that needs no Python any more (`html`) and
ipywidgets in a live kernel (`widget`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from book.report import explorers, figures
from book.report.explorers import options
from rigl.training.project import root

SCORES = {"set": "a random number", "rigl": "|gradient|", "snfs": "|momentum|"}
START = ("rigl", "0.3")
MINUS = "\N{MINUS SIGN}"
STYLES = {  # told apart by the form of the border as well as by its colour
    "idle": "border:2px solid transparent",
    "kept": f"border:2px solid {figures.GREY}",
    "dropped": f"border:2px dashed {figures.VERMILION};text-decoration:line-through",
    "grown": f"border:2px solid {figures.BLUE};border-radius:1.2em;font-weight:bold",
}
Example = Mapping[str, Any]


class Stage(TypedDict):
    """The matrix at one moment of an update: what each cell shows and its kind (a key of `STYLES`), row by
    row, and what is going on."""

    text: str
    cells: list[str]
    kinds: list[str]


def example(path: Path | None = None) -> Example:
    """What ``python -m rigl.training.worked`` wrote."""
    found: Example = json.loads((path or root() / "results" / "worked.json").read_text())
    return found


def stage_table(example: Example) -> dict[str, dict[str, list[Stage]]]:
    """The stages of an update, ``{method: {drop fraction: [before, drop, grow, after]}}``."""
    return {
        name: {fraction: _stages(example, name, fraction) for fraction in method["updates"]}
        for name, method in example["methods"].items()
    }


def _stages(example: Example, method: str, fraction: str) -> list[Stage]:
    weight, before = np.array(example["weight"]), np.array(example["mask"], bool)
    score = np.array(example["methods"][method]["score"])
    update = example["methods"][method]["updates"][fraction]
    kept, after = np.array(update["kept"], bool), np.array(update["mask"], bool)
    dropped, grown = before & ~kept, after & ~kept
    active, count, size = int(before.sum()), int(dropped.sum()), before.size
    rows, columns = before.shape
    again = int((dropped & grown).sum())
    back = f" Of these, {again} had just been dropped; its weight is lost all the same." if again else ""
    return [
        _stage(
            f"Before: {active} of {size} weights are active, in {rows} rows and {columns} columns. "
            "What is not active is 0 and not shown.",
            np.where(before, _texts(weight), ""),
            kept=before,
        ),
        _stage(
            f"Drop: {fraction} of {active} active weights, rounded up, is {count}. The {count} nearest to 0 "
            f"go: {_listed(abs(weight[dropped]))} in size.",
            np.where(before, _texts(weight), ""),
            kept=kept,
            dropped=dropped,
        ),
        _stage(
            f"Grow: each of the {size - active + count} positions that are not active now shows its score, "
            f"{SCORES[method]}. The {count} largest come: {_listed(-score[grown])}.{back}",
            np.where(kept, "", _texts(score)),
            kept=kept,
            grown=grown,
        ),
        _stage(
            f"After: {int(after.sum())} of {size} weights are active, as before. The {count} grown ones "
            "start at 0, so that the network's output has changed only by what was dropped.",
            np.where(after, _texts(np.where(kept, weight, 0.0)), ""),
            kept=kept,
            grown=grown,
        ),
    ]


def _stage(text: str, cells: np.ndarray, **kinds: np.ndarray) -> Stage:
    kind = np.full(cells.shape, "idle", dtype=object)
    for name, where in kinds.items():
        kind[where] = name
    return {"text": text, "cells": cells.ravel().tolist(), "kinds": kind.ravel().tolist()}


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([[f"{value:.2f}".replace("-", MINUS) for value in row] for row in values])


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{abs(value):.2f}" for value in np.sort(values))


def matrix(stage: Stage, columns: int) -> str:
    """A stage's matrix as an HTML table."""
    look = "padding:.3rem 0;text-align:center;min-width:2.5rem;height:2.1rem;background:none"
    cells = [
        f'<td style="{look};{STYLES[kind]}">{escape(text)}</td>'
        for text, kind in zip(stage["cells"], stage["kinds"], strict=True)
    ]
    rows = [cells[at : at + columns] for at in range(0, len(cells), columns)]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    spread = "border-collapse:separate;border-spacing:2px;font-size:.85rem;font-variant-numeric:tabular-nums"
    return f'<table style="{spread};width:auto">{body}</table>'


def html(example: Example) -> str:
    """The example as a fragment of HTML that works by itself."""
    table = stage_table(example)
    method, fraction = START
    stages, columns = table[method][fraction], len(example["mask"][0])
    return f"""<div class="worked">
<div class="explorer-controls">
<label>Method <select name="method">{options(table, method)}</select></label>
<label>Drop fraction <select name="fraction">{options(table[method], fraction)}</select></label>
<label>Step <input name="stage" type="range" min="0" max="{len(stages) - 1}" value="0"></label>
<span class="explorer-buttons">
<button type="button" name="previous">Previous</button>
<button type="button" name="next">Next</button>
</span>
</div>
<p class="explorer-summary" aria-live="polite">{escape(stages[0]["text"])}</p>
<div class="scroll" tabindex="0" role="region" aria-label="A small matrix during a mask update">
{matrix(stages[0], columns)}
</div>
<p>Grey square: kept. Dashed and struck through: dropped. Round and bold: grown. No border: not active.</p>
{explorers.scripts(__file__, {"table": table, "styles": STYLES})}
</div>"""


def widget(example: Example) -> Any:
    """The example as an ipywidgets box; needs ipywidgets and a live kernel."""
    import ipywidgets as ipw

    table, columns = stage_table(example), len(example["mask"][0])
    method = ipw.Dropdown(options=list(table), value=START[0], description="Method")
    fraction = ipw.Dropdown(options=list(table[START[0]]), value=START[1], description="Drop fraction")
    stage = ipw.IntSlider(min=0, max=3, description="Step")
    text, view = ipw.HTML(), ipw.HTML()

    def draw() -> None:
        now = table[method.value][fraction.value][stage.value]
        text.value, view.value = escape(now["text"]), matrix(now, columns)

    explorers.live((method, fraction, stage), draw)
    return ipw.VBox([ipw.HBox([method, fraction, stage]), text, view])


def show() -> None:
    """Display the example: in a page of the book the static form, in a live kernel the widgets."""
    explorers.show(lambda: html(example()), lambda: widget(example()))
