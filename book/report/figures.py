"""Plots: records, frames and set-ups in, plotly figures out.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; what differs in colour differs in
dash, marker or pattern too. Backgrounds are transparent and lines grey, so that a plot stands on a light
page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from markupsafe import Markup
from plotly.subplots import make_subplots

from book.report import display, names
from book.report.runs import budgeted, convolutional, settings
from book.report.tables import Setup
from rigl.sparsity.distributions import layer_densities
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
        display.emit(output, raw=True)


def outputs(fig: go.Figure, text: str) -> list[dict[str, Any]]:
    """What `show` displays, each as ``{mimetype: content}``."""
    return [bundle(fig, text), {"text/html": str(caption(fig, text)), "text/plain": text}]


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
    return Markup('<div class="plot" role="img" aria-label="{}">{}</div>').format(text, Markup(page))


def caption(fig: go.Figure, text: str) -> Markup:
    """`text` and a link that saves what `fig` draws as csv."""
    return Markup('<p class="caption">{} {}</p>').format(text, display.csv_link(csv(fig), "plot.csv"))


def csv(fig: go.Figure) -> str:
    """What a figure draws, a line a point: the series, x, y, and z where it has one, and what its hover text
    says shows beyond these; a series that says nothing when pointed at only joins others and is left out."""
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
            name=names.setting(config.method, masks),
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
    words = pd.Series([names.of(row) for _, row in done.iterrows()], index=done.index, dtype=str)
    for name, runs in done.groupby(words):
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


# What the results pages draw of a set-up, each plot with the text that says what one sees in it.

MOVED = ("rigl", "rigl-sg", "rigl-sm", "snfs")
REACH = 6.0  # points below the best that a plot shows: one collapse would flatten all others
COMPARED = ("dense", "small-dense", "static", "set", "snfs", "rigl", "pruning", "lottery")


def by_density(setup: Setup) -> list[str | Drawn]:
    """Accuracy against density (figures 1 and 2): uniform masks, ERK masks, training for longer."""
    runs = setup.usual
    runs = runs[runs["method"].isin(COMPARED)]
    once = runs["multiplier"] == 1
    free = runs["distribution"].isna()
    panels = {
        "uniform masks": runs[once & (free | (runs["distribution"] == "uniform"))],
        "ERK masks": runs[once & (free | (runs["distribution"] == "erk"))],
        "training for longer": runs[~once | runs["method"].isin(["pruning", "dense"])],
    }
    made: list[str | Drawn] = []
    for name, part in panels.items():
        shown = part[part["method"] != "dense"]
        if len(shown) and (name != "training for longer" or (part["multiplier"] > 1).any()):
            text = f"{setup.title}, {name}: test accuracy against density, a marker a run. {extremes(part)}"
            made.append(framed(accuracy(part), part, text))
    return made or [f"<p><em>{setup.title}: no runs to draw.</em></p>"]


def framed(fig: go.Figure, runs: pd.DataFrame, text: str) -> Drawn:
    """A plot of accuracies cut off `REACH` points below the best sparse one, and its text, which then says
    what is outside."""
    values = runs["test_accuracy"].astype(float)
    sparse = values[runs["method"] != "dense"]
    floor = (values if sparse.empty else sparse).max() - REACH
    below = runs[values < floor]
    if below.empty:
        return fig, text
    outside = ", ".join(
        dict.fromkeys(f"{names.of(row)} at {row['density']:g}" for _, row in below.iterrows())
    )
    fig.update_yaxes(range=[floor, values.max() + REACH / 20])
    return fig, f"{text} Below the plot's lower edge, {floor:.1f} %: {outside}."


def extremes(runs: pd.DataFrame) -> str:
    """The best and the worst setting at each density, by their means, in words."""
    words = []
    for density, part in settings(runs[runs["method"] != "dense"]).groupby("density"):
        order = part.sort_values("mean")
        if len(order) > 1:
            best, worst = (
                f"{names.of(row)} {row['mean']:.2f} %" for _, row in order.iloc[[-1, 0]].iterrows()
            )
            words.append(f"at density {density:g} best {best}, worst {worst}")
    return "By the means: " + "; ".join(words) + "." if words else ""


def costs(runs: pd.DataFrame) -> str:
    """The mean cost and accuracy of every setting, in words."""
    parts = []
    for masks, part in settings(runs).sort_values(["distribution", "train_flops"]).groupby("distribution"):
        pairs = (f"{row['mean']:.2f} % for {row['train_flops']:.2f} x" for _, row in part.iterrows())
        parts.append(f"{names.masks(str(masks))} {', '.join(pairs)}")
    return "; ".join(parts)


def at_equal_flops(setup: Setup) -> list[str | Drawn]:
    """Accuracy of RigL against training FLOPs, uniform and ERK (figure 4); and of every method, with the
    Pareto front of the means."""
    runs = setup.usual
    budget = budgeted(setup.own)
    both = pd.concat([runs, budget[budget["test_accuracy"].notna()].assign(variant="")])
    rigl = both[(both["method"] == "rigl") & both["distribution"].isin(["uniform", "erk"])]
    rigl = rigl[rigl["multiplier"] == 1]
    made: list[str | Drawn] = []
    if rigl["distribution"].nunique() == 2:
        text = (
            f"{setup.title}: test accuracy of RigL against training FLOPs relative to dense, by the means: "
            f"{costs(rigl)}. Where the two lines overlap in FLOPs, the upper one is the better use of them."
        )
        made.append((accuracy(rigl, "train_flops"), text))
    if len(runs):
        front = pareto(runs)
        fig = accuracy(runs, "train_flops")
        fig.add_scatter(
            x=front["train_flops"].tolist(),
            y=front["mean"].tolist(),
            mode="lines",
            line={"color": GREY, "width": 6, "shape": "hv"},
            opacity=0.35,
            name="Pareto front",
            customdata=[names.of(row) for _, row in front.iterrows()],
            hovertemplate="%{customdata}<br>%{y:.2f}% for %{x:.3f} x dense<extra></extra>",
        )
        best = ", ".join(f"{names.of(row)} ({row['train_flops']:.2f} x)" for _, row in front.iterrows())
        text = f"{setup.title}: every method. No other costs less and is better than: {best}."
        made.append(framed(fig, runs, text))
    return made or [f"<p><em>{setup.title}: no runs to draw.</em></p>"]


def pareto(runs: pd.DataFrame) -> pd.DataFrame:
    """The settings, by their means, that no other beats in test accuracy at the same training FLOPs or less;
    from cheap to dear."""
    order = settings(runs).dropna(subset="mean").sort_values(["train_flops", "mean"], ascending=[True, False])
    best = order["mean"].cummax()
    return order[(order["mean"] == best) & ~best.duplicated()]


def redistribution(setup: Setup) -> list[str | Drawn]:
    """What redistribution does to cost and layers (figure 5), at the density and seed with most of its
    runs."""
    runs = setup.usual
    runs = runs[runs["method"].isin(MOVED) & (runs["multiplier"] == 1)]
    moved = runs[runs["method"] != "rigl"]
    if moved.empty:
        return [f"<p><em>{setup.title}: not run.</em></p>"]
    density, seed = max(moved.groupby(["density", "seed"]), key=lambda group: len(group[1]))[0]
    chosen = runs[(runs["density"] == density) & (runs["seed"] == seed)].sort_values(
        ["method", "distribution"]
    )
    found = list(chosen["record"])
    where = f"{setup.title}, density {density:g}, seed {seed}"
    drawn = [each for each in found if each.config.distribution == "uniform"] or found
    last = f"{where}: density of each layer after training from uniform masks, and what ERK would give. "
    ends = ", ".join(f"{_label(each)} {each.flops.test_ratio:.2f}" for each in found)
    cost = f"{where}: forward FLOPs relative to dense at each step. At the end: {ends}."
    # Without convolutions a weight costs the same in any layer, and the lines are flat.
    moving: list[str | Drawn] = [(cost_over_time(*found), cost)] if convolutional(found[0]) else []
    return [*moving, (final_densities(drawn), last + settled(drawn))]


def _label(record: Record) -> str:
    return names.setting(record.config.method, record.config.distribution_name)


def final_densities(found: Sequence[Record]) -> go.Figure:
    """Each layer's density at the end of runs on one network, with uniform and ERK at the first one's
    density."""
    layers = [layer.plain for layer in found[0].layers]
    hover = [f"{each.name}, {' x '.join(map(str, each.shape))}" for each in layers]
    fig = go.Figure()

    def line(name: str, shares: Sequence[float], **look: object) -> None:
        fig.add_scatter(
            x=list(range(1, len(layers) + 1)),
            y=list(shares),
            name=name,
            mode="lines+markers",
            customdata=hover,
            hovertemplate="%{customdata}<br>density %{y:.4f}",
            **look,
        )

    for each in found:
        colour, marker = METHODS.get(each.config.method, OTHER)
        shares = [layer.density[-1] for layer in each.layers]
        line(_label(each), shares, line={"color": colour}, marker={"symbol": marker, "size": 8})
    erk = layer_densities(layers, found[0].config.density, "erk")
    grey = {"color": GREY, "dash": "dash"}
    line("ERK, for comparison", list(erk.values()), line=grey, marker={"symbol": "square-open", "size": 8})
    styled(fig, height=380, xaxis_title="layer, from input to output", yaxis_title="density")
    return fig.update_yaxes(type="log", dtick="D2").update_xaxes(dtick=max(1, round(len(layers) / 10)))


def settled(found: Sequence[Record], within: float = 0.1) -> str:
    """After which share of training no layer's density was further than `within` of itself from its last."""
    words = []
    for each in found:
        if each.config.method == "rigl":
            continue
        ends = [layer.density[-1] for layer in each.layers]
        last = 0
        for position in range(len(each.density_steps)):
            apart = [abs(x.density[position] - end) / end for x, end in zip(each.layers, ends, strict=True)]
            if max(apart) > within:
                last = position + 1
        step = each.density_steps[min(last, len(each.density_steps) - 1)]
        epochs = step / each.config.steps_per_epoch
        words.append(f"{_label(each)} from epoch {epochs:.0f} of {each.config.total_epochs} on")
    told = "; ".join(words)
    return (
        f"Every layer within {within:.0%} of its last density (the claim counts weights instead): {told}."
        if words
        else ""
    )


def learning_rates(setup: Setup) -> list[str | Drawn]:
    """RigL's accuracy over the grid of learning rates and mask-update settings, a map for each distribution
    and density (figure 3)."""
    made: list[str | Drawn] = []
    rows = setup.rows("figure3")
    cells = [row for row in rows if len(row.accuracies)]
    if all(row.config.learning_rate == cells[0].config.learning_rate for row in cells):
        left = f"{len(rows)} settings, of which {len(cells)} have runs: too few for a map"
        return [f"<p><em>{setup.title}: {left}.</em></p>"]
    rates = sorted({row.config.learning_rate for row in rows})
    pairs = sorted({(row.config.alpha, row.config.delta_t) for row in rows})
    for masks in ("uniform", "erk"):
        for density in sorted({float(row.config.density or 0) for row in cells}):
            mine = [row for row in cells if (row.config.distribution, row.config.density) == (masks, density)]
            if not mine:
                continue
            values = {
                (each.config.learning_rate, each.config.alpha, each.config.delta_t): each for each in mine
            }
            grid = [
                [values[rate, *pair].mean if (rate, *pair) in values else None for pair in pairs]
                for rate in rates
            ]
            best = max(mine, key=lambda row: row.mean)
            text = (
                f"{setup.title}, {names.masks(masks)} masks, density {density:g}: mean test accuracy, "
                f"percent, {len(mine)} of {len(rates) * len(pairs)} settings run. Best: learning rate "
                f"{best.config.learning_rate:g}, alpha {best.config.alpha:g}, Delta-T "
                f"{best.config.delta_t}, {best.mean:.2f} %."
            )
            made.append(
                (_heat([f"{a:g}, {t}" for a, t in pairs], [f"{rate:g}" for rate in rates], grid), text)
            )
    return made


def _heat(x: list[str], y: list[str], grid: list[list[float | None]]) -> go.Figure:
    fig = go.Figure(
        go.Heatmap(
            x=x,
            y=y,
            z=grid,
            colorscale="Cividis",
            texttemplate="%{z:.2f}",
            colorbar={"title": {"text": "%"}, "thickness": 12},
            hovertemplate="learning rate %{y}<br>alpha, Delta-T: %{x}<br>%{z:.2f}%<extra></extra>",
        )
    )
    styled(fig, height=320, xaxis_title="alpha, Delta-T", yaxis_title="learning rate")
    return fig.update_xaxes(type="category").update_yaxes(type="category")
