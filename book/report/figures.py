"""Records and frames in, plotly figures out.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; what differs in colour differs in
dash, marker or pattern too. Backgrounds are transparent and lines grey, so that a plot stands on a light
page and on a dark one.
"""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from plotly.subplots import make_subplots

from book.report.tables import setting
from rigl.training.records import Record

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
    "pruning": (BLUE, "star"),
    "lottery": (PURPLE, "cross"),
}
OTHER = BLUE, "star"  # a method that somebody added
DASHES = {"uniform": "dot", "er": "dash", "erk": "solid", "erk-flops": "dashdot"}
CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def show(fig: go.Figure, text: str) -> None:
    """Display a figure so that one stored output serves a live Jupyter and the static book; below it `text`,
    which says what one sees, and its numbers to save.

    Jupyter draws the plotly JSON; the book takes the HTML, which expects plotly.js in the page and
    therefore carries none of its 5 MB.
    """
    for output in outputs(fig, text):
        emit(output, raw=True)


def outputs(fig: go.Figure, text: str) -> list[dict[str, Any]]:
    """What `show` displays, each as ``{mimetype: content}``."""
    return [bundle(fig, text), {"text/html": caption(fig, text), "text/plain": text}]


def emit(output: Any, *, raw: bool = False) -> None:
    """Display something in a notebook; `raw` for a ``{mimetype: content}``."""
    from IPython.display import display

    display(output, raw=raw)  # type: ignore[no-untyped-call]


def bundle(fig: go.Figure, text: str) -> dict[str, Any]:
    """The figure as ``{mimetype: content}``: plotly's JSON, and HTML without plotly.js, which says `text` to
    those who cannot see it."""
    plotly: dict[str, Any] = pio.renderers["plotly_mimetype"].to_mimebundle(fig.to_dict())
    return {**plotly, "text/html": plot(fig, text)}


def plot(fig: go.Figure, text: str) -> str:
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
    return f'<div class="plot" role="img" aria-label="{escape(text)}">{page}</div>'


def caption(fig: go.Figure, text: str) -> str:
    """`text` and a link that saves what `fig` draws as csv."""
    return f'<p class="caption">{escape(text)} {csv_link(csv(fig), "plot.csv")}</p>'


def csv_link(data: str, name: str) -> str:
    """A link that saves `data` under `name`."""
    address = f"data:text/csv;charset=utf-8,{quote(data)}"
    return f'<a download="{escape(name)}" href="{address}">Data as csv</a>'


def csv(fig: go.Figure) -> str:
    """What a figure draws, a line a point: the series, x, y, and z where it has one, and what pointing at it
    shows beyond these; a series that says nothing when pointed at only joins others and is left out."""
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


def history(record: Record) -> go.Figure:
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
    return styled(fig, height=520)


def densities(record: Record) -> go.Figure:
    """Density of each maskable layer before training and after it."""
    fig = go.Figure()
    positions = list(range(1, len(record.layers) + 1))
    hover = [[layer.name, " x ".join(map(str, layer.shape))] for layer in record.layers]
    moments = (("before", 0, SKY, ""), ("after", -1, ORANGE, "/"))
    for moment, index, colour, pattern in moments:
        fig.add_bar(
            x=positions,
            y=[layer.density[index] for layer in record.layers],
            name=f"{moment} (step {record.density_steps[index]:,})",
            customdata=hover,
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>density %{y:.4f}",
            marker={
                "color": colour,
                "pattern": {"shape": pattern, "fgcolor": "#5a3d00", "fillmode": "overlay"},
            },
        )
    styled(fig, xaxis_title="layer, from input to output", yaxis_title="density", barmode="group")
    return fig.update_yaxes(range=[0, 1])


def flops(record: Record) -> go.Figure:
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
    return fig.update_layout(margin_l=80).update_xaxes(range=[0, 1.1 * max(1.0, *shares)])


def cost_over_time(*records: Record) -> go.Figure:
    """FLOPs of a forward pass at each step that a record has densities of, as shares of dense (report,
    figure 5a), a line a record."""
    fig = go.Figure()
    for record in records:
        config = record.config
        colour, marker = METHODS.get(config.method, OTHER)
        masks = config.distribution_name
        fig.add_scatter(
            x=record.density_steps,
            y=record.forward_ratio or [record.flops.test_ratio] * len(record.density_steps),
            mode="lines+markers",
            line={"color": colour, "dash": DASHES.get(str(masks), "solid")},
            marker={"symbol": marker, "size": 6},
            name=config.method + (f" ({masks})" if masks else ""),
            customdata=[record.name] * len(record.density_steps),
            hovertemplate="%{customdata}<br>step %{x:,}: %{y:.4f} x dense<extra></extra>",
        )
    styled(fig, height=300, xaxis_title="training step", yaxis_title="forward FLOPs, relative to dense")
    return fig.update_yaxes(rangemode="tozero")


AXES = {"density": "density", "train_flops": "training FLOPs, relative to dense"}


def accuracy(frame: pd.DataFrame, against: str = "density") -> go.Figure:
    """Test accuracy against `against` (a key of `AXES`), every finished run a marker that names itself
    when pointed at, with a line through each method's means."""
    fig = go.Figure()
    done = frame[frame["test_accuracy"].notna()]
    names = pd.Series([setting(row) for _, row in done.iterrows()], index=done.index, dtype=str)
    for name, runs in done.groupby(names):
        method, distribution = runs[["method", "distribution"]].iloc[0]
        colour, marker = METHODS.get(method, OTHER)
        marker += "-open" if distribution == "uniform" else ""
        look: dict[str, Any] = {"legendgroup": name, "name": name}
        fig.add_scatter(
            x=runs[against].tolist(),
            y=runs["test_accuracy"].astype(float).tolist(),
            mode="markers",
            marker={"color": colour, "symbol": marker, "size": 9, "line": {"width": 2, "color": colour}},
            customdata=runs[["name", "seed"]].to_numpy().tolist(),
            hovertemplate="%{customdata[0]}<br>seed %{customdata[1]}: %{y:.2f}%",
            **look,
        )
        at = runs.groupby(runs["density"].rename("at"))
        means = at.agg(x=(against, "mean"), y=("test_accuracy", "mean"))
        fig.add_scatter(
            x=means["x"].tolist(),
            y=means["y"].tolist(),
            mode="lines",
            line={"color": colour, "dash": DASHES.get(distribution, "solid")},
            hoverinfo="skip",
            showlegend=False,
            **look,
        )
    styled(fig, height=420, xaxis_title=AXES[against], yaxis_title="test accuracy, %")
    fig.update_xaxes(type="log")
    ticks = sorted(set(done[against].round(3)))
    if len(ticks) > 8:
        return fig.update_xaxes(dtick="D2")
    return fig.update_xaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
