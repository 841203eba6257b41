"""What the results pages draw of a set-up: each plot with the text that says what one sees in it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from book.report import figures, tables
from book.report.pages import Setup
from rigl.sparsity.distributions import layer_densities
from rigl.training import records
from rigl.training.records import Record

Drawn = tuple[go.Figure, str]
MOVED = ("rigl", "rigl-sg", "rigl-sm", "snfs")
REACH = 6.0  # points below the best that a plot shows: one collapse would flatten all others
COMPARED = ("dense", "small-dense", "static", "set", "snfs", "rigl", "pruning", "lottery")


def usual(setup: Setup) -> pd.DataFrame:
    """The finished runs that changed nothing but what the report's tables name."""
    mine = setup.own
    plain = (mine["variant"] == "") & (mine["preset"] == "repro2021")
    return mine[plain & mine["test_accuracy"].notna()]


def by_density(setup: Setup) -> list[str | Drawn]:
    """Accuracy against density (figures 1 and 2): uniform masks, ERK masks, training for longer."""
    runs = usual(setup)
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
            made.append(framed(figures.accuracy(part), part, text))
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
    names = ", ".join(
        dict.fromkeys(f"{tables.setting(row)} at {row['density']:g}" for _, row in below.iterrows())
    )
    fig.update_yaxes(range=[floor, values.max() + REACH / 20])
    return fig, f"{text} Below the plot's lower edge, {floor:.1f} %: {names}."


def extremes(runs: pd.DataFrame) -> str:
    """The best and the worst setting at each density, by their means, in words."""
    settings = tables.spread(runs[runs["method"] != "dense"])
    words = []
    for density, part in settings.groupby("density"):
        order = part.sort_values("mean")
        if len(order) > 1:
            best, worst = (
                f"{tables.setting(row)} {row['mean']:.2f} %" for _, row in order.iloc[[-1, 0]].iterrows()
            )
            words.append(f"at density {density:g} best {best}, worst {worst}")
    return "By the means: " + "; ".join(words) + "." if words else ""


def costs(runs: pd.DataFrame) -> str:
    """The mean cost and accuracy of every setting, in words."""
    settings = tables.spread(runs).sort_values(["distribution", "train_flops"])
    parts = []
    for masks, part in settings.groupby("distribution"):
        pairs = (f"{row['mean']:.2f} % for {row['train_flops']:.2f} x" for _, row in part.iterrows())
        parts.append(f"{masks} {', '.join(pairs)}")
    return "; ".join(parts)


def at_equal_flops(setup: Setup) -> list[str | Drawn]:
    """Accuracy of RigL against training FLOPs, uniform and ERK (figure 4); and of every method, with the
    Pareto front of the means."""
    runs = usual(setup)
    budget = setup.own["variant"].str.fullmatch(r"flops=[\d.e-]+") & setup.own["test_accuracy"].notna()
    both = pd.concat([runs, setup.own[budget].assign(variant="")])
    rigl = both[(both["method"] == "rigl") & both["distribution"].isin(["uniform", "erk"])]
    rigl = rigl[rigl["multiplier"] == 1]
    made: list[str | Drawn] = []
    if rigl["distribution"].nunique() == 2:
        text = (
            f"{setup.title}: test accuracy of RigL against training FLOPs relative to dense, by the means: "
            f"{costs(rigl)}. Where the two lines overlap in FLOPs, the upper one is the better use of them."
        )
        made.append((figures.accuracy(rigl, "train_flops"), text))
    if len(runs):
        front = pareto(runs)
        fig = figures.accuracy(runs, "train_flops")
        fig.add_scatter(
            x=front["train_flops"].tolist(),
            y=front["mean"].tolist(),
            mode="lines",
            line={"color": figures.GREY, "width": 6, "shape": "hv"},
            opacity=0.35,
            name="Pareto front",
            customdata=[tables.setting(row) for _, row in front.iterrows()],
            hovertemplate="%{customdata}<br>%{y:.2f}% for %{x:.3f} x dense<extra></extra>",
        )
        names = ", ".join(
            f"{tables.setting(row)} ({row['train_flops']:.2f} x)" for _, row in front.iterrows()
        )
        text = f"{setup.title}: every method. No other costs less and is better than: {names}."
        made.append(framed(fig, runs, text))
    return made or [f"<p><em>{setup.title}: no runs to draw.</em></p>"]


def pareto(runs: pd.DataFrame) -> pd.DataFrame:
    """The settings, by their means, that no other beats in test accuracy at the same training FLOPs or less;
    from cheap to dear."""
    order = (
        tables.spread(runs)
        .dropna(subset="mean")
        .sort_values(["train_flops", "mean"], ascending=[True, False])
    )
    best = order["mean"].cummax()
    return order[(order["mean"] == best) & ~best.duplicated()]


def redistribution(setup: Setup) -> list[str | Drawn]:
    """What redistribution does to cost and layers (figure 5), at the density and seed with most of its
    runs."""
    runs = usual(setup)
    runs = runs[runs["method"].isin(MOVED) & (runs["multiplier"] == 1)]
    moved = runs[runs["method"] != "rigl"]
    if moved.empty:
        return [f"<p><em>{setup.title}: not run.</em></p>"]
    density, seed = max(moved.groupby(["density", "seed"]), key=lambda group: len(group[1]))[0]
    chosen = runs[(runs["density"] == density) & (runs["seed"] == seed)].sort_values(
        ["method", "distribution"]
    )
    found = [records.load(path) for path in chosen["path"]]
    where = f"{setup.title}, density {density:g}, seed {seed}"
    ends = ", ".join(f"{each.config.label} {each.flops.test_ratio:.2f}" for each in found)
    cost = f"{where}: forward FLOPs relative to dense at each step. At the end: {ends}."
    drawn = [each for each in found if each.config.distribution == "uniform"] or found
    last = f"{where}: density of each layer after training from uniform masks, and what ERK would give. "
    return [(figures.cost_over_time(*found), cost), (final_densities(drawn), last + settled(drawn))]


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
        colour, marker = figures.METHODS.get(each.config.method, figures.OTHER)
        shares = [layer.density[-1] for layer in each.layers]
        line(each.config.label, shares, line={"color": colour}, marker={"symbol": marker, "size": 8})
    erk = layer_densities(layers, found[0].config.density, "erk")
    grey = {"color": figures.GREY, "dash": "dash"}
    line("ERK, for comparison", list(erk.values()), line=grey, marker={"symbol": "square-open", "size": 8})
    figures.styled(fig, height=380, xaxis_title="layer, from input to output", yaxis_title="density")
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
        words.append(f"{each.config.label} from epoch {epochs:.0f} of {each.config.total_epochs} on")
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
                f"{setup.title}, {masks} masks, density {density:g}: mean test accuracy, percent, "
                f"{len(mine)} of {len(rates) * len(pairs)} settings run. Best: learning rate "
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
    figures.styled(fig, height=320, xaxis_title="alpha, Delta-T", yaxis_title="learning rate")
    return fig.update_xaxes(type="category").update_yaxes(type="category")
