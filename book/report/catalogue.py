"""Every method beside every other, as a survey's table has them; made from the rows that define them."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from book.report import display, names
from book.report.runs import REFERENCE
from rigl.sparsity.flops import training_flops
from rigl.sparsity.methods import METHODS, Method, Score

DENSITY, DELTA_T = 0.1, int(REFERENCE["delta_t"])
SIZES = {
    "magnitude": "|w|",
    "gradient": "|g|",
    "momentum": "|momentum|",
    "magnitude+gradient": "|w| + 0.01 |g|",
}
ADDRESSES = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}


def table() -> pd.DataFrame:
    """A row for each method: what an update drops and grows, and what that takes."""
    return pd.DataFrame([_row(method) for method in METHODS.values()])


def show() -> None:
    """Display the table."""
    display.show_table(
        table(),
        "All methods and their names in code. w is a weight, g its gradient. FLOPs are those of a step at "
        f"density {DENSITY:g} in every layer, with an update every {DELTA_T} steps, over the dense "
        "network's; where the density falls they depend on the schedule.",
        kind="labels-8 survey",
    )


def _row(method: Method) -> dict[str, object]:
    return {
        "Method": display.lines(names.method(method.name), display.parts.code(method.name)),
        "Drops": _drops(method),
        "Grows": _largest(method.grow, method),
        "Layers' budgets": _budgets(method),
        "Density": f"falls from {method.start:g}" if method.prunes else "constant",
        "Starts from": _begins(method),
        "Dense gradients": {"updates": "at updates"}.get(method.dense_gradients, method.dense_gradients)
        if method.masked
        else "-",
        "FLOPs": _flops(method),
        "Published": _paper(method.paper),
    }


def _size(score: Score) -> str:
    return (
        SIZES.get(score, score)
        if isinstance(score, str)
        else getattr(score, "__name__", "a score of its own")
    )


def _drops(method: Method) -> str:
    if not method.moves:
        return "-"
    what = "channels of smallest mean " if method.channels else "smallest "
    everywhere = method.only_prunes or method.drop_global
    also = ", after those of all layers" if method.prunes and method.grow else ""
    return what + _size(method.drop) + " of all layers" * everywhere + also


def _largest(score: Score | None, method: Method) -> str:
    if score is None:
        return "-"
    if score == "random":
        return "at random"
    return ("channels of largest mean " if method.channels else "largest ") + _size(score)


def _budgets(method: Method) -> str:
    if not method.masked:
        return "-"
    if method.prunes:
        return "free"
    return "fixed" if method.share is None else f"by mean {_size(method.share)}"


def _begins(method: Method) -> str:
    if method.source:
        return f"{names.method(method.source)}'s masks"
    return "random masks" if method.masked and not method.only_prunes else "a dense network"


def _flops(method: Method) -> str:
    if method.prunes or method.pays_source:
        return "-"
    if method.name == "dense":
        return "1"
    return f"{training_flops(method, 1.0, DENSITY, delta_t=DELTA_T) / 3:.3f}"


def _paper(text: str) -> Markup | str:
    who, _, where = text.rpartition(", ")
    kind, _, number = where.partition(":")
    if kind not in ADDRESSES:
        return text or "-"
    return Markup(display.parts.link(f"{ADDRESSES[kind]}{number}", who))
