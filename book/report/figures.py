"""Plots: records, frames and set-ups in, plotly figures out.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; what differs in colour differs in
dash, marker or pattern too. Backgrounds are transparent and lines grey, so that a plot stands on a light
page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from markupsafe import Markup
from plotly.subplots import make_subplots

from book.report import display, names
from book.report.runs import REFERENCE
from book.report.tables import Row, Setup
from rigl.training.records import Record

Drawn = tuple[go.Figure, str]
BLUE, ORANGE, GREEN, SKY, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#808080"
VERMILION = "#d55e00"
METHODS = {  # the same colour and marker for a method everywhere
    "dense": (GREY, "square"),
    "small-dense": (PURPLE, "diamond"),
    "static": (ORANGE, "triangle-up"),
    "set": (SKY, "x"),
    "rigl": (GREEN, "circle"),
    "snfs": (VERMILION, "triangle-down"),
    "rigl-sg": (GREEN, "pentagon"),
    "rigl-sm": (BLUE, "hexagon"),
    "rigl-reinit": (GREEN, "hourglass"),
    "rigl-struct": (SKY, "bowtie"),
    "rigl-global": (PURPLE, "triangle-right"),
    "granet": (BLUE, "star-diamond"),
    "mest": (VERMILION, "hexagram"),
    "pruning": (BLUE, "star"),
    "lottery": (PURPLE, "cross"),
}
OTHER = ORANGE, "diamond-tall"  # a method that somebody added
PATHS = {  # the markers as SVG paths around 0, for what is drawn without plotly
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
    "square": "M-4-4h8v8h-8Z",
    "diamond": "M0-6L6 0L0 6L-6 0Z",
    "diamond-tall": "M0-7L4 0L0 7L-4 0Z",
    "triangle-up": "M0-6L5.2 3H-5.2Z",
    "triangle-down": "M0 6L-5.2-3H5.2Z",
    "pentagon": "M0-5.5L5.2-1.7L3.2 4.4H-3.2L-5.2-1.7Z",
    "hexagon": "M0-5.5L4.8-2.8V2.8L0 5.5L-4.8 2.8V-2.8Z",
    "star": "M0-7L1.9-2.5L6.7-2.2L3 1L4.1 5.7L0 3.1L-4.1 5.7L-3 1L-6.7-2.2L-1.9-2.5Z",
    "cross": "M-1.8-5.5h3.6v3.7h3.7v3.6h-3.7v3.7h-3.6v-3.7h-3.7v-3.6h3.7Z",
    "hourglass": "M-4.5-5h9L-4.5 5h9Z",
    "bowtie": "M-5-4.5v9L5-4.5v9Z",
    "triangle-right": "M6 0L-3 5.2V-5.2Z",
    "star-diamond": "M0 -7L1.8 -1.8L7 0L1.8 1.8L0 7L-1.8 1.8L-7 0L-1.8 -1.8Z",
    "hexagram": "M0-6.5L1.8-3.1H5.6L3.6 0L5.6 3.2H1.8L0 6.5L-1.8 3.2H-5.6L-3.6 0L-5.6-3.1H-1.8Z",
    "x": "M-5-2.5L-2.5-5L0-2.5L2.5-5L5-2.5L2.5 0L5 2.5L2.5 5L0 2.5L-2.5 5L-5 2.5L-2.5 0Z",
}
DASHES = {"uniform": "dot", "er": "dash", "erk": "solid", "erk-flops": "dashdot"}
CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def look(method: str) -> tuple[str, str]:
    """A method's colour and its marker as an SVG path."""
    colour, marker = METHODS.get(method, OTHER)
    return colour, PATHS[marker]


def show(fig: go.Figure, text: str) -> None:
    """Display a figure so that one stored output serves a live Jupyter and the static book; above it `text`,
    which says what to see, below it its numbers to save.

    Jupyter draws the plotly JSON; the book takes the HTML, which expects plotly.js in the page and
    therefore carries none of its 5 MB.
    """
    display.emit({"text/html": str(sentence(text)), "text/plain": text}, raw=True)
    display.emit(bundle(fig, text), raw=True)
    display.show(saved(fig))


def html(fig: go.Figure, text: str) -> Markup:
    """What `show` displays, as HTML for a page that loads plotly.js."""
    return sentence(text) + plot(fig, text) + saved(fig)


def bundle(fig: go.Figure, text: str) -> dict[str, Any]:
    """The figure as ``{mimetype: content}``: plotly's JSON, and HTML without plotly.js, which says `text` to
    those who cannot see it."""
    plotly: dict[str, Any] = pio.renderers["plotly_mimetype"].to_mimebundle(fig.to_dict())
    return {**plotly, "text/html": str(plot(fig, text))}


def plot(fig: go.Figure, text: str) -> Markup:
    """The figure as HTML without plotly.js."""
    page = pio.to_html(
        fig,
        config=CONFIG,
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        auto_play=False,
        default_width="100%",
    )
    return Markup(display.parts.plot(text, Markup(page)))


def sentence(text: str) -> Markup:
    """`text` as what stands above a plot and says what to see."""
    return Markup(display.parts.paragraph(text, "see"))


def saved(fig: go.Figure) -> Markup:
    """A link that saves what `fig` draws as csv."""
    return Markup(display.parts.paragraph(display.csv_link(csv(fig), "plot.csv"), "caption"))


def csv(fig: go.Figure) -> str:
    """The points of a figure, one per line: series, x, y, z if there is one, and the hover text. A series
    without hover text only connects points and is left out."""
    rows = []
    for trace in fig.data:
        if trace.hoverinfo == "skip":
            continue
        if trace.type in ("heatmap", "contour") and np.ndim(trace.z) == 2:
            for y, line in zip(trace.y, trace.z, strict=True):
                rows += [{"x": x, "y": y, "z": z} for x, z in zip(trace.x, line, strict=True)]
            continue
        more = trace.customdata if trace.customdata is not None else [""] * len(trace.x)
        for x, y, words in zip(trace.x, trace.y, more, strict=True):
            told = words if isinstance(words, str) or np.ndim(words) == 0 else " ".join(map(str, words))
            rows.append({"series": trace.name or "", "x": x, "y": y, "about": told})
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def styled(fig: go.Figure, *, height: int = 360, **layout: Any) -> go.Figure:
    """The look that every plot shares; `layout` goes to plotly as it is."""
    fig.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#6b6b6b", "size": 13},
        margin={"l": 56, "r": 12, "t": 34, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        height=height,
        **layout,
    )
    grid = {"gridcolor": "rgba(128,128,128,.3)", "linecolor": GREY, "zerolinecolor": "rgba(128,128,128,.5)"}
    return fig.update_xaxes(**grid).update_yaxes(**grid)


def history(record: Record) -> Drawn:
    """Loss (nats) and accuracy (percent) by epoch: every series of the record's history that is either."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    looks = {"train": (BLUE, "solid", "circle"), "validation": (ORANGE, "dash", "square")}
    for name, series in record.history.items():
        images, _, kind = name.rpartition("_")
        if kind not in ("loss", "accuracy"):
            continue
        colour, dash, marker = looks.get(images, (GREEN, "dot", "diamond"))
        fig.add_scatter(
            x=list(range(1, len(series) + 1)),
            y=series,
            name=name.replace("_", " "),
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"symbol": marker, "size": 6},
            row=1 if kind == "loss" else 2,
            col=1,
        )
    fig.update_yaxes(title_text="loss, nats", row=1, col=1)
    fig.update_yaxes(title_text="accuracy, %", row=2, col=1)
    fig.update_xaxes(dtick=max(1, round(record.config.total_epochs / 8)))
    fig.update_xaxes(title_text="epoch", row=2, col=1)
    loss = record.history["train_loss"]
    told = [f"Training loss goes from {loss[0]:.2f} to {loss[-1]:.2f} nats in {len(loss)} epochs."]
    scores = [
        (value, -epoch) for epoch, value in enumerate(record.history["validation_accuracy"], 1) if value
    ]
    if scores:
        best, epoch = max(scores)
        told.append(f"Validation accuracy is highest, {best:.2f} %, after epoch {-epoch}.")
    return styled(fig, height=520), " ".join(told)


def hatched(colour: str, pattern: str, **look: Any) -> dict[str, Any]:
    """What plotly calls the marker of a bar: its colour, and a pattern over it."""
    return {"color": colour, "pattern": {"shape": pattern, **look, "fillmode": "overlay"}}


def layer_bars(
    layers: Sequence[Sequence[Any]],
    bars: Iterable[tuple[str, Iterable[float], dict[str, Any]]],
    hover: str = "%{customdata[0]}<br>%{customdata[1]}",
    **layout: Any,
) -> go.Figure:
    """Densities layer by layer: `bars` are names, densities and markers, `layers` what `hover` tells of each,
    by default its name and shape."""
    fig = go.Figure()
    for name, shares, marker in bars:
        fig.add_bar(
            x=list(range(1, len(layers) + 1)),
            y=list(shares),
            name=name,
            customdata=layers,
            hovertemplate=f"{hover}<br>density %{{y:.4f}}",
            marker=marker,
        )
    styled(fig, xaxis_title="layer, from input to output", yaxis_title="density", barmode="group", **layout)
    return fig.update_yaxes(range=[0, 1])


def densities(record: Record) -> Drawn:
    """Density of each maskable layer before training, and after it where any changed."""
    moved = [layer for layer in record.layers if layer.density[0] != layer.density[-1]]
    moments = [("before", 0, hatched(SKY, "")), ("after", -1, hatched(ORANGE, "/", fgcolor="#5a3d00"))]
    bars = [
        (f"{moment} (step {record.density_steps[at]:,})", [x.density[at] for x in record.layers], look)
        for moment, at, look in moments[: 2 if moved else 1]
    ]
    fig = layer_bars([[layer.name, names.shape(layer.shape)] for layer in record.layers], bars)
    told = "No layer's density changes: this method moves connections within a layer only."
    if moved:
        most = max(moved, key=lambda layer: abs(layer.density[-1] - layer.density[0]))
        told = (
            f"{len(moved)} of {len(record.layers)} layers change their density, {most.name} most: from "
            f"{most.density[0]:.3g} to {most.density[-1]:.3g}."
        )
    return fig, told


def flops(record: Record) -> Drawn:
    """Cost of a training step and of a forward pass, each as a share of the dense model's."""
    cost = record.flops
    shares = [cost.test_ratio, cost.train_ratio]
    fig = go.Figure(
        go.Bar(
            x=shares,
            y=["inference", "training"],
            orientation="h",
            text=[f"{share:.3f}x" for share in shares],
            textposition="outside",
            customdata=[cost.forward, cost.training],
            hovertemplate="%{y}: %{x:.4f} x dense<br>%{customdata:.3s}FLOPs a sample<extra></extra>",
            marker={"color": [SKY, ORANGE]},
        )
    )
    fig.add_vline(x=1, line={"color": GREY, "dash": "dash"}, annotation={"text": "dense", "xanchor": "right"})
    styled(fig, height=220, xaxis_title="FLOPs, relative to dense")
    fig.update_layout(margin_l=80).update_xaxes(range=[0, 1.1 * max(1.0, *shares)])
    return (
        fig,
        f"Inference costs {shares[0]:.3f} and training {shares[1]:.3f} of what the dense network's cost.",
    )


def cost_over_time(record: Record) -> Drawn | None:
    """FLOPs of a forward pass at each step that a record has densities of, as shares of dense (report,
    figure 5a); None where they are the same at every step."""
    fig, costs = go.Figure(), record.forward_ratio or []
    if len(set(costs)) < 2:
        return None
    config = record.config
    colour, marker = METHODS.get(config.method, OTHER)
    fig.add_scatter(
        x=record.density_steps,
        y=costs,
        mode="lines+markers",
        line={"color": colour},
        marker={"symbol": marker, "size": 6},
        name=names.setting(config.method, config.distribution_name),
        hovertemplate="step %{x:,}: %{y:.4f} x dense",
    )
    styled(fig, height=300, xaxis_title="training step", yaxis_title="forward FLOPs, over dense")
    told = (
        f"A forward pass costs {costs[0]:.3f} of the dense network's at the start, {costs[-1]:.3f} at the "
        f"end and {max(costs):.3f} at most."
    )
    return fig.update_yaxes(rangemode="tozero"), told


# What the results pages draw of a set-up, each plot with the text that says what one sees in it.

REACH = 6.0  # points below the best sparse setting that a plot shows in any case


def learning_rates(setup: Setup) -> list[str | Drawn]:
    """RigL's accuracy over learning rates and mask-update settings (figure 3): a map for each distribution
    and density whose grid is full, and a line for each row of the others; nothing where
    no two rates have runs."""
    rows = [row for row in setup.rows("figure3") if not row.precision]
    cells = [row for row in rows if len(row.accuracies)]
    if len({row.config.learning_rate for row in cells}) < 2:
        return []
    grids: dict[tuple[str, float], list[Row]] = {}
    for row in cells:
        grids.setdefault((str(row.config.distribution), float(row.config.density or 0)), []).append(row)
    whole = len(rows) / len({(row.config.distribution, row.config.density) for row in rows})
    full = {place: mine for place, mine in grids.items() if len(mine) == whole}
    part = {place: mine for place, mine in grids.items() if place not in full}
    made: list[str | Drawn] = [_rate_lines(part, f"{setup.title}: {_best_rates(part)}")] if part else []
    for (masks, density), mine in full.items():
        best = max(mine, key=lambda row: row.mean)
        text = (
            f"{setup.title}, {names.masks(masks)} masks, density {density:g}: best at a learning rate of "
            f"{best.config.learning_rate:g}, alpha {best.config.alpha:g}, Delta-T {best.config.delta_t}, "
            f"{best.mean:.2f} %; worst {min(row.mean for row in mine):.2f} %."
        )
        made.append((_rate_map(mine), text))
    return made


def _best_rates(grids: Mapping[tuple[str, float], Sequence[Row]]) -> str:
    """Which learning rate is best where, by the means."""
    best: dict[float, list[str]] = {}
    for (masks, density), mine in grids.items():
        rate = max(mine, key=lambda row: row.mean).config.learning_rate
        best.setdefault(rate, []).append(f"{names.masks(masks)} at {density:g}")
    told = [f"{rate:g} is best for {', '.join(where)}" for rate, where in sorted(best.items(), reverse=True)]
    rates = sorted({row.config.learning_rate for mine in grids.values() for row in mine})
    edge = f" {rates[-1]:g} is the largest that was tried." if rates[-1] in best else ""
    return f"of learning rates, {'; '.join(told)}.{edge}"


def _rate_lines(grids: Mapping[tuple[str, float], Sequence[Row]], text: str) -> Drawn:
    fig = go.Figure()
    densities = sorted({density for _, density in grids})
    for (masks, density), mine in grids.items():
        for alpha, delta_t in sorted({(row.config.alpha, row.config.delta_t) for row in mine}):
            line = [row for row in mine if (row.config.alpha, row.config.delta_t) == (alpha, delta_t)]
            line.sort(key=lambda row: row.config.learning_rate)
            colour = (BLUE, VERMILION, GREEN, PURPLE)[densities.index(density) % 4]
            usual = {"alpha": alpha, "delta_t": delta_t} == REFERENCE
            fig.add_scatter(
                x=[row.config.learning_rate for row in line],
                y=[row.mean for row in line],
                mode="lines+markers",
                name=f"{names.masks(masks)}, {density:g}" + ("" if usual else f", {alpha:g}, {delta_t}"),
                line={"color": colour, "dash": DASHES.get(masks, "solid")},
                marker={"symbol": "circle" if masks == "erk" else "circle-open", "size": 8},
                customdata=[
                    f"{display.accuracy(row.mean, row.std)} %, seeds: {len(row.accuracies)}" for row in line
                ],
                hovertemplate="learning rate %{x}<br>%{customdata}",
            )
    rates = sorted({row.config.learning_rate for mine in grids.values() for row in mine})
    styled(fig, height=440, xaxis_title="learning rate", yaxis_title="test accuracy, %")
    fig.update_xaxes(type="log", tickvals=rates, ticktext=[f"{rate:g}" for rate in rates])
    return fig, text


def _rate_map(rows: Sequence[Row]) -> go.Figure:
    rates = sorted({row.config.learning_rate for row in rows})
    pairs = sorted({(row.config.alpha, row.config.delta_t) for row in rows})
    means = {(row.config.learning_rate, row.config.alpha, row.config.delta_t): row.mean for row in rows}
    fig = go.Figure(
        go.Heatmap(
            x=[f"{alpha:g}, {delta_t}" for alpha, delta_t in pairs],
            y=[f"{rate:g}" for rate in rates],
            z=[[means[rate, *pair] for pair in pairs] for rate in rates],
            colorscale="Cividis",
            texttemplate="%{z:.2f}",
            colorbar={"title": {"text": "%"}, "thickness": 12},
            hovertemplate="learning rate %{y}<br>alpha, Delta-T: %{x}<br>%{z:.2f}%<extra></extra>",
        )
    )
    styled(fig, height=320, xaxis_title="alpha, Delta-T", yaxis_title="learning rate")
    return fig.update_xaxes(type="category").update_yaxes(type="category")
