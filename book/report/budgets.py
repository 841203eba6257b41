"""Distributions at equal FLOPs: what they do to layers, and what trained networks reach with them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from book.report import display, figures, names
from book.report.runs import budgeted, settings
from book.report.statistics import Sample, in_words
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.shapes import Layer, network_density
from rigl.training.project import model_layers

COMPARED = {
    "uniform": figures.hatched(figures.ORANGE, ""),
    "erk": figures.hatched(figures.GREEN, "/"),
    "erk-flops": figures.hatched(figures.BLUE, "x"),
}


def densities(model: str, flops: float) -> figures.Drawn:
    """Each layer's density under the three distributions at `flops` of the dense forward pass.

    `model` is a name in ``results/layers.json``. Raises what `layer_densities` raises.
    """
    layers = model_layers()[model]
    found = {name: layer_densities(layers, distribution=name, flops=flops) for name in COMPARED}
    fig = figures.layer_bars(
        [[layer.name, names.shape(layer.shape), layer.positions] for layer in layers],
        ((names.masks(name), found[name].values(), look) for name, look in COMPARED.items()),
        hover="%{customdata[0]}<br>%{customdata[1]}, %{customdata[2]} positions",
    )
    ours, erk = found["erk-flops"], found["erk"]
    fewer = [layer for layer in layers if ours[layer.name] < erk[layer.name]]
    more = [layer for layer in layers if ours[layer.name] > erk[layer.name]]
    text = (
        f"{names.title(model)} at {flops:g} of the dense forward FLOPs: {names.masks('erk-flops')} keeps "
        f"fewer weights than ERK in {_used(fewer)}, and more in {_used(more)}."
    )
    return fig, text


def _used(layers: Sequence[Layer]) -> str:
    """How many layers these are, and at how many positions each of their weights is used."""
    if not layers:
        return "no layer"
    low, high = (pick(layer.positions for layer in layers) for pick in (min, max))
    positions = f"{low}" if low == high else f"{low} to {high}"
    return f"{len(layers)} layers, whose weights are used at {positions} positions"


def weights(flops: float) -> pd.DataFrame:
    """The network's density under each distribution at equal FLOPs, a row a model of ``layers.json``."""
    rows = []
    for model, layers in model_layers().items():
        shares = {name: layer_densities(layers, distribution=name, flops=flops) for name in COMPARED}
        found = {names.masks(name): f"{network_density(layers, x):.4f}" for name, x in shares.items()}
        rows.append({"Model": names.title(model), **found})
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs in `frame` that had a budget of FLOPs, a row a model, budget and distribution; an accuracy
    opens its runs."""
    rows = []
    for _, row in _budgeted(frame).iterrows():
        setting, model = names.setting(row["method"], row["distribution"]), names.network(row["model"])
        label = f"{setting}, {row['budget']} of the FLOPs, {model}"
        found = display.named(frame, row["names"])
        rows.append(
            {
                "Model": model,
                "Method": names.method(row["method"]),
                "FLOPs, x": row["budget"],
                "Masks": names.masks(row["distribution"]),
                "Weights, x": f"{row['density']:.4f}",
                "Accuracy, %": display.accuracy_of(found, label, f"budget-{label}"),
                "Seeds": row["seeds"],
            }
        )
    return pd.DataFrame(rows)


def verdict(frame: pd.DataFrame) -> str:
    """One sentence for each model, method and budget that all three distributions have runs of, by the means
    and their intervals."""
    found = []
    for (model, method, budget), part in _budgeted(frame).groupby(["model", "method", "budget"]):
        rows = {row["distribution"]: row for _, row in part.iterrows()}
        for other in ("erk", "uniform") if set(COMPARED) <= set(rows) else ():
            place = f"{names.network(str(model))}, {names.method(str(method))}, {budget} of the FLOPs"
            pair = [Sample(name, *rows[name][["mean", "std", "seeds"]]) for name in ("erk-flops", other)]
            found.append(
                f"- {place}, {names.masks('erk-flops')} against {names.masks(other)}: {in_words(*pair)}."
            )
    return "\n".join(found) or "Too few runs yet to say."


def _budgeted(frame: pd.DataFrame) -> pd.DataFrame:
    """The settings of the runs with a budget of FLOPs and nothing else unusual, and their `budget`."""
    rows = settings(budgeted(frame))
    rows["budget"] = rows["variant"].str.removeprefix("flops=")
    return rows.sort_values(["model", "method", "budget", "distribution"])
