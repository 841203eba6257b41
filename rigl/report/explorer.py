"""The density explorer: which layer keeps how many weights, for a model, a distribution and a density.

One data function, `density_table`, feeds both forms: a page that needs no Python any more (`html`) and
ipywidgets in a live kernel (`widget`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd
import plotly.graph_objects as go

from rigl.config import DISTRIBUTIONS
from rigl.distributions import active_counts, layer_densities
from rigl.flops import forward_flops
from rigl.report import figures
from rigl.shapes import Layer

GRID = (
    *(0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25),
    *(0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
START = ("erk", 0.1)


class Point(TypedDict):
    """A distribution at one target density: each layer's density, active weights in all, forward FLOPs
    relative to dense, and all that in a sentence."""

    density: float
    densities: list[float]
    active: int
    flops: float
    text: str


class Model(TypedDict):
    """A model's layers, its maskable weights in all, and its points by distribution."""

    layers: list[tuple[str, str]]
    weights: int
    points: dict[str, list[Point]]


def density_table(
    models: Mapping[str, Sequence[Layer]],
    distributions: Sequence[str] = DISTRIBUTIONS,
    densities: Sequence[float] = GRID,
) -> dict[str, Model]:
    """Every model under every distribution at every density, as plain JSON-able numbers.

    A layer stands as its name and its shape, in the order of `models`' own layers. Raises what
    `layer_densities` and `forward_flops` raise.
    """
    return {
        name: {
            "layers": [(layer.name, " x ".join(map(str, layer.shape))) for layer in layers],
            "weights": sum(layer.numel for layer in layers),
            "points": {
                kind: [_point(layers, kind, density) for density in densities] for kind in distributions
            },
        }
        for name, layers in models.items()
    }


def _point(layers: Sequence[Layer], distribution: str, density: float) -> Point:
    shares = layer_densities(layers, density, distribution)
    active = sum(active_counts(layers, shares).values())
    weights = sum(layer.numel for layer in layers)
    dense = forward_flops(layers)
    ratio = forward_flops(layers, shares) / dense
    full = sum(share == 1 for share in shares.values())
    text = (
        f"{distribution} at density {density:g}: {active:,} of {weights:,} weights active "
        f"({active / weights:.2%}); a forward pass costs {ratio:.3f} times the dense {dense:.3g} FLOPs; "
        f"{full} of {len(layers)} layers fully dense."
    )
    return {
        "density": density,
        "densities": [shares[layer.name] for layer in layers],
        "active": active,
        "flops": ratio,
        "text": text,
    }


def flops_table(table: Mapping[str, Model], densities: Sequence[float]) -> pd.DataFrame:
    """Forward FLOPs relative to dense, a row for each model and density, a column a distribution."""
    rows = []
    for name, model in table.items():
        for density in densities:
            row: dict[str, Any] = {"Model": name, "Density": f"{density:g}"}
            for kind, points in model["points"].items():
                row[kind] = next(f"{point['flops']:.3f}" for point in points if point["density"] == density)
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


def _start(model: Model) -> tuple[str, int]:
    """The distribution, and the position on its grid, that an explorer opens with."""
    kind = START[0] if START[0] in model["points"] else next(iter(model["points"]))
    grid = [point["density"] for point in model["points"][kind]]
    return kind, min(range(len(grid)), key=lambda index: abs(grid[index] - START[1]))


def html(table: Mapping[str, Model]) -> str:
    """The explorer as a fragment of HTML that works by itself wherever plotly.js is loaded before it."""
    model = next(iter(table.values()))
    kind, at = _start(model)
    point = model["points"][kind][at]
    data = {"models": table, "figure": json.loads(figure(model, point).to_json()), "config": figures.CONFIG}
    safe = json.dumps(data).replace("<", "\\u003c")  # no text of a model's ends the script
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return f"""<div class="explorer">
<div class="explorer-controls">
<label>Model <select name="model">{_options(table, next(iter(table)))}</select></label>
<label>Distribution <select name="distribution">{_options(model["points"], kind)}</select></label>
<label>Density <input name="density" type="range" min="0" max="{len(model["points"][kind]) - 1}" value="{at}">
<output>{point["density"]:g}</output></label>
<label><input name="log" type="checkbox"> logarithmic axis</label>
</div>
<p class="explorer-summary" aria-live="polite">{escape(point["text"])}</p>
<div class="plotly-graph-div" role="img" aria-label="Density of each layer; the table has the numbers"></div>
<details><summary>The same as a table</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Density of each layer">
<table class="table">
<thead><tr><th>Layer</th><th>Shape</th><th>Density</th></tr></thead><tbody></tbody></table>
</div></details>
<script type="application/json">{safe}</script>
<script>{script}</script>
</div>"""


def _options(names: Mapping[str, Any], chosen: str) -> str:
    return "".join(
        f'<option value="{escape(name)}"{" selected" if name == chosen else ""}>{escape(name)}</option>'
        for name in names
    )


def widget(table: Mapping[str, Model]) -> Any:
    """The explorer as an ipywidgets box; needs ipywidgets and a live kernel."""
    import ipywidgets as ipw

    first = next(iter(table.values()))
    kind, at = _start(first)
    grid = [point["density"] for point in first["points"][kind]]
    model = ipw.Dropdown(options=list(table), description="Model")
    distribution = ipw.Dropdown(options=list(first["points"]), value=kind, description="Distribution")
    density = ipw.SelectionSlider(options=grid, value=grid[at], description="Density")
    summary, plot = ipw.HTML(), ipw.Output()

    def draw(*_: object) -> None:
        point = table[model.value]["points"][distribution.value][grid.index(density.value)]
        summary.value = escape(point["text"])
        data = figures.bundle(figure(table[model.value], point), point["text"])
        plot.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)

    for control in (model, distribution, density):
        control.observe(draw, names="value")
    draw()
    return ipw.VBox([ipw.HBox([model, distribution, density]), summary, plot])


def show(models: Mapping[str, Sequence[Layer]]) -> None:
    """Display the explorer: in a page of the book the static form, in a live kernel the widgets."""
    table = density_table(models)
    if os.environ.get("RIGL_BOOK"):
        figures.emit({"text/html": html(table)}, raw=True)
    else:
        figures.emit(widget(table))
