"""One mask update of a small matrix, step by step; ``results/worked.json`` holds what the package
computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from book.report import display, figures, names

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


def example() -> Example:
    """The project's example."""
    found: Example = display.read("worked.json")
    return found


def stage_table(example: Example) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The stages of an update, ``{method: {drop fraction: [before, drop, grow, after]}}``."""
    return {
        name: {fraction: _stages(example, name, fraction) for fraction in method["updates"]}
        for name, method in example["methods"].items()
    }


def _stages(example: Example, method: str, fraction: str) -> list[dict[str, Any]]:
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


def _stage(text: str, cells: np.ndarray, **kinds: np.ndarray) -> dict[str, Any]:
    """The matrix at one moment of an update: a sentence about it, and row by row what each cell shows and its
    kind (a key of `STYLES`)."""
    kind = np.full(cells.shape, "idle", dtype=object)
    for name, where in kinds.items():
        kind[where] = name
    return {"text": text, "cells": cells.ravel().tolist(), "kinds": kind.ravel().tolist()}


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([[f"{value:.2f}".replace("-", MINUS) for value in row] for row in values])


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{abs(value):.2f}" for value in np.sort(values))


def html(example: Example) -> Markup:
    """The example as standalone HTML."""
    table = stage_table(example)
    method, fraction = START
    stages, columns = table[method][fraction], len(example["mask"][0])
    cells = list(zip(stages[0]["cells"], stages[0]["kinds"], strict=True))
    return display.render(
        "update_example",
        methods=[(name, names.method(name)) for name in table],
        method=method,
        fractions=[(each, each) for each in table[method]],
        fraction=fraction,
        last=len(stages) - 1,
        text=stages[0]["text"],
        rows=[cells[at : at + columns] for at in range(0, len(cells), columns)],
        data={"table": table, "styles": STYLES},
    )
