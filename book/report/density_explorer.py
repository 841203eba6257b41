"""The density explorer: how many weights each layer keeps, for a model, a distribution and a budget, which is
a density or a share of the dense network's FLOPs.

One data function, `density_table`, feeds both forms: HTML on a page and ipywidgets in a live kernel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup, escape

from book.report import display, figures, names
from rigl.sparsity.distributions import DISTRIBUTIONS, active_counts, layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import Layer

GRID = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
BUDGETS = {"density": "weights (density)", "flops": "FLOPs, relative to dense"}
UNITS = {"density": "density {:g}", "flops": "{:g} of the dense FLOPs"}
START = ("erk", "density", 0.1)


class Point(TypedDict):
    """A distribution under one budget: each layer's density (none where the budget cannot be met), active
    weights in all, forward FLOPs relative to dense, and all that in a sentence."""

    value: float
    densities: list[float]
    active: int
    flops: float
    text: str


class Model(TypedDict):
    """A model's layers (name, shape, weights, forward FLOPs when dense), its maskable weights in all, and its
    points by distribution and kind of budget."""

    layers: list[tuple[str, str, int, float]]
    weights: int
    points: dict[str, dict[str, list[Point]]]


def density_table(
    models: Mapping[str, Sequence[Layer]],
    distributions: Sequence[str] = DISTRIBUTIONS,
    values: Sequence[float] = GRID,
) -> dict[str, Model]:
    """Every model under every distribution at every density, and at every budget of FLOPs, of `values`, as
    plain JSON-able numbers.

    Layers stand in the order of `models`' own. Raises what `layer_densities` and `forward_flops` raise, but
    for a budget that is too low.
    """
    return {
        name: {
            "layers": [
                (layer.name, " x ".join(map(str, layer.shape)), layer.numel, forward_flops([layer]))
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


def _point(layers: Sequence[Layer], distribution: str, budget: str, value: float) -> Point:
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


def figure(model: Model, point: Point) -> go.Figure:
    """A bar a layer; the page's script puts other numbers into this very figure."""
    fig = go.Figure(
        go.Bar(
            x=list(range(1, len(model["layers"]) + 1)),
            y=point["densities"],
            customdata=model["layers"],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>density %{y:.4f}<extra></extra>",
            marker={"color": figures.SKY, "line": {"color": figures.BLUE, "width": 1}},
        )
    )
    figures.styled(fig, height=340, xaxis_title="layer, from input to output", yaxis_title="density")
    return fig.update_yaxes(range=[0, 1])


def _start(model: Model) -> tuple[str, str, int]:
    """The distribution, the kind of budget and the position on its grid that an explorer opens with."""
    kind = START[0] if START[0] in model["points"] else next(iter(model["points"]))
    grid = [point["value"] for point in model["points"][kind][START[1]]]
    return kind, START[1], min(range(len(grid)), key=lambda index: abs(grid[index] - START[2]))


def html(table: Mapping[str, Model]) -> Markup:
    """The explorer as standalone HTML, on a page that loads plotly.js before it."""
    name, model = next(iter(table.items()))
    kind, budget, at = _start(model)
    points = model["points"][kind][budget]
    drawn = json.loads(figure(model, points[at]).to_json())
    return display.render(
        "density_explorer",
        models=[(each, names.title(each)) for each in table],
        model=name,
        distributions=[(each, names.masks(each)) for each in model["points"]],
        distribution=kind,
        budgets=BUDGETS.items(),
        budget=budget,
        last=len(points) - 1,
        at=at,
        point=points[at],
        data={"models": table, "figure": drawn, "config": figures.CONFIG},
    )


def widget(table: Mapping[str, Model]) -> Any:
    """The explorer as an ipywidgets box; needs ipywidgets and a live kernel."""
    import ipywidgets as ipw

    first = next(iter(table.values()))
    kind, start, at = _start(first)
    grid = [point["value"] for point in first["points"][kind][start]]
    choices = {
        "Model": ipw.Dropdown(options=[(names.title(each), each) for each in table]),
        "Distribution": ipw.Dropdown(options=[(names.masks(x), x) for x in first["points"]], value=kind),
        "Budget of": ipw.Dropdown(options=[(text, name) for name, text in BUDGETS.items()]),
        "at": ipw.SelectionSlider(options=grid, value=grid[at]),
    }
    summary, plot = ipw.HTML(), ipw.Output()

    def draw(_: Any = None) -> None:
        name, distribution, budget, value = (choice.value for choice in choices.values())
        point = table[name]["points"][distribution][budget][grid.index(value)]
        summary.value = escape(point["text"])
        data = figures.bundle(figure(table[name], point), point["text"])
        plot.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)

    for label, choice in choices.items():
        choice.description = label
        choice.observe(draw, names="value")
    draw()
    return ipw.VBox([ipw.HBox(list(choices.values())), summary, plot])


def show(table: Mapping[str, Model]) -> None:
    """Display the explorer of a `density_table`: HTML in a page of the book, widgets in a live kernel."""
    if display.in_book():
        display.show(html(table))
    else:
        display.emit(widget(table))
