"""The density explorer: how many weights each layer keeps, for a model, a distribution and a budget, which is
a density or a share of the dense network's FLOPs; beside it another distribution, or where a run ended.

One data function, `density_table`, feeds both forms: HTML on a page and ipywidgets in a live kernel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup, escape

from book.report import display, figures, names
from book.report.redistribution_player import METHODS_THAT_MOVE
from book.report.runs import usual
from rigl.sparsity.distributions import DISTRIBUTIONS, active_counts, layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import Layer

GRID = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
BUDGETS = {"density": "weights (density)", "flops": "FLOPs, relative to dense"}
UNITS = {"density": "density {:g}", "flops": "{:g} of the dense FLOPs"}
START = ("erk", "density", 0.1)
Model = dict[str, Any]  # what `density_table` has of one
End = dict[str, Any]  # what `ended` has of a run
LOOKS = ((figures.SKY, figures.BLUE, ""), (figures.ORANGE, "#5a3d00", "/"))  # colour, edge, pattern


def density_table(
    models: Mapping[str, Sequence[Layer]],
    distributions: Sequence[str] = DISTRIBUTIONS,
    values: Sequence[float] = GRID,
) -> dict[str, Model]:
    """Every model under every distribution at every density, and at every budget of FLOPs, of `values`, as
    plain JSON-able numbers: a model's layers (name, shape, weights, forward FLOPs when dense), its maskable
    weights in all, and its points by distribution and kind of budget.

    Layers stand in the order of `models`' own. Raises what `layer_densities` and `forward_flops` raise, but
    for a budget that is too low.
    """
    return {
        name: {
            "layers": [
                (layer.name, names.shape(layer.shape), layer.numel, forward_flops([layer]))
                for layer in layers
            ],
            "weights": sum(layer.numel for layer in layers),
            "points": {
                kind: {
                    budget: [_point(layers, kind, budget, value) for value in values] for budget in BUDGETS
                }
                for kind in distributions
            },
        }
        for name, layers in models.items()
    }


def _point(layers: Sequence[Layer], distribution: str, budget: str, value: float) -> dict[str, Any]:
    """A distribution under one budget: each layer's density (none where the budget cannot be met), active
    weights in all, forward FLOPs relative to dense, and all that in a sentence."""
    asked = f"{names.masks(distribution)} at {UNITS[budget].format(value)}"
    try:
        if budget == "density":
            shares = layer_densities(layers, value, distribution)
        else:
            shares = layer_densities(layers, distribution=distribution, flops=value)
    except ValueError as error:
        if budget == "density":
            raise
        return {"value": value, "densities": [], "active": 0, "flops": 0.0, "text": f"{asked}: {error}."}
    active = sum(active_counts(layers, shares).values())
    weights = sum(layer.numel for layer in layers)
    cost, dense = forward_flops(layers, shares), forward_flops(layers)
    full = sum(share == 1 for share in shares.values())
    text = (
        f"{asked}: {active:,} of {weights:,} weights active ({active / weights:.2%}); a forward pass costs "
        f"{cost:.3g} FLOPs, {cost / dense:.3f} times the dense {dense:.3g}; "
        f"{full} of {len(layers)} layers fully dense."
    )
    return {
        "value": value,
        "densities": [shares[layer.name] for layer in layers],
        "active": active,
        "flops": cost / dense,
        "text": text,
    }


def flops_table(table: Mapping[str, Model], densities: Sequence[float]) -> pd.DataFrame:
    """Forward FLOPs relative to dense, a row for each model and density, a column a distribution."""
    rows = []
    for name, model in table.items():
        for density in densities:
            row: dict[str, Any] = {"Model": names.title(name), "Density": f"{density:g}"}
            for kind, points in model["points"].items():
                row[names.masks(kind)] = next(
                    f"{point['flops']:.3f}" for point in points["density"] if point["value"] == density
                )
            rows.append(row)
    return pd.DataFrame(rows)


def ended(frame: pd.DataFrame) -> dict[str, dict[str, End]]:
    """The densities that the layers of usual runs in `frame` ended with, by model and by run, with the run in
    a few words and in a sentence: the first seed of each setting whose method moves weights between
    layers."""
    found: dict[str, dict[str, End]] = {}
    mine = usual(frame)
    mine = mine[mine["method"].isin(METHODS_THAT_MOVE)]
    setting = ["protocol", "model", "dataset", "density", "method", "distribution", "multiplier"]
    for _, run in mine.sort_values([*setting, "seed"]).drop_duplicates(setting).iterrows():
        sized = f"{names.of(run)} at density {run['density']:g}"
        found.setdefault(f"{run['model']} on {run['dataset']}", {})[run["name"]] = {
            "densities": [display.short(layer.density[-1]) for layer in run["record"].layers],
            "text": f"{sized}, after training",
            "told": f"Beside it: {sized}, as the run of seed {run['seed']} ended.",
        }
    return found


def figure(model: Model, *shown: tuple[str, Sequence[float]], log: bool = False) -> go.Figure:
    """A bar a layer for each distribution of `shown`, its name and its densities; the page's script puts
    other numbers into this very figure."""
    bars = (
        (*each, {"line": {"color": edge, "width": 1}, **figures.hatched(colour, pattern, fgcolor=edge)})
        for each, (colour, edge, pattern) in zip(shown, LOOKS, strict=False)
    )
    fig = figures.layer_bars(model["layers"], bars, height=400, showlegend=True)
    return fig.update_yaxes(type="log" if log else "linear", range=[-4, 0] if log else [0, 1])


def layer_table(
    model: Model, point: Mapping[str, Any], other: tuple[str, Sequence[float]] | None = None
) -> pd.DataFrame:
    """A row a layer: its density, active weights and forward FLOPs, and another distribution's densities."""
    rows = []
    for index, (density, layer) in enumerate(zip(point["densities"], model["layers"], strict=False)):
        name, shape, weights, flops = layer
        row = {
            "Layer": name,
            "Shape": shape,
            "Density": f"{density:.4g}",
            "Active weights": f"{round(density * weights):,}",
            "Forward FLOPs": f"{density * flops:.3g}",
        }
        if other:
            row[f"Density, {other[0]}"] = f"{other[1][index]:.4g}" if len(other[1]) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def _start(model: Model) -> tuple[str, str, int]:
    """The distribution, the kind of budget and the position on its grid that an explorer opens with."""
    kind = START[0] if START[0] in model["points"] else next(iter(model["points"]))
    grid = [point["value"] for point in model["points"][kind][START[1]]]
    return kind, START[1], min(range(len(grid)), key=lambda index: abs(grid[index] - START[2]))


def html(table: Mapping[str, Model], ends: Mapping[str, Mapping[str, End]]) -> Markup:
    """The explorer as standalone HTML, on a page that loads plotly.js before it."""
    name, model = next(iter(table.items()))
    kind, budget, at = _start(model)
    points = model["points"][kind][budget]
    shares = points[at]["densities"]
    kinds = [(each, names.masks(each)) for each in model["points"]]
    return display.render(
        "density_explorer",
        models=[(each, names.title(each)) for each in table],
        model=name,
        distributions=kinds,
        distribution=kind,
        budgets=BUDGETS.items(),
        budget=budget,
        last=len(points) - 1,
        at=at,
        point=points[at],
        data={
            "models": table,
            "ends": ends,
            "distributions": kinds,
            "figure": json.loads(figure(model, (kind, shares), ("", shares)).to_json()),
            "config": figures.CONFIG,
        },
    )


def widget(table: Mapping[str, Model], ends: Mapping[str, Mapping[str, End]]) -> Any:
    """The explorer as an ipywidgets box; needs ipywidgets and a live kernel."""
    import ipywidgets as ipw

    first = next(iter(table.values()))
    kind, start, at = _start(first)
    grid = [point["value"] for point in first["points"][kind][start]]
    kinds = [(names.masks(each), each) for each in first["points"]]
    choices = {
        "Model": ipw.Dropdown(options=[(names.title(each), each) for each in table]),
        "Distribution": ipw.Dropdown(options=kinds, value=kind),
        "Budget of": ipw.Dropdown(options=[(text, name) for name, text in BUDGETS.items()]),
        "at": ipw.SelectionSlider(options=grid, value=grid[at]),
        "Beside it": ipw.Dropdown(),
        "Log axis": ipw.Checkbox(indent=False),
    }
    for label, choice in choices.items():
        choice.description = label
        choice.layout = ipw.Layout(width="20rem", min_width="20rem")
    # A row that does not wrap squeezes its last widget to nothing.
    row = ipw.Box(list(choices.values()), layout=ipw.Layout(display="flex", flex_flow="row wrap"))
    summary, plot, numbers = ipw.HTML(), ipw.Output(), ipw.HTML()

    def offer(_: Any = None) -> None:
        found = [(end["text"], run) for run, end in ends.get(choices["Model"].value, {}).items()]
        choices["Beside it"].options = [("nothing", ""), *kinds, *found]

    def draw(_: Any = None) -> None:
        name, distribution, budget, value, beside, log = (choice.value for choice in choices.values())
        points = table[name]["points"]
        position = grid.index(value)
        point = points[distribution][budget][position]
        shown = [(names.masks(distribution), point["densities"])]
        told = point["text"]
        if end := ends.get(name, {}).get(beside):
            shown.append((end["text"], end["densities"]))
            told += f" {end['told']}"
        elif beside:
            other = points[beside][budget][position]
            shown.append((names.masks(beside), other["densities"]))
            told += f" {other['text']}"
        summary.value = escape(told)
        data = figures.bundle(figure(table[name], *shown, log=log), told)
        plot.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
        lines = display.plain(layer_table(table[name], point, *shown[1:]))
        numbers.value = display.parts.folded("The same as a table", lines)

    offer()
    choices["Model"].observe(offer, names="value")
    for choice in choices.values():
        choice.observe(draw, names="value")
    draw()
    return ipw.VBox([row, summary, plot, numbers])


def show(table: Mapping[str, Model], frame: pd.DataFrame) -> None:
    """Display the explorer of a `density_table` and of the runs in `frame`: HTML in a page of the book,
    widgets in a live kernel."""
    if display.in_book():
        display.show(html(table, ended(frame)))
    else:
        display.emit(widget(table, ended(frame)))
