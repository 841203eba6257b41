"""The schedule of the drop fraction and its two knobs, alpha and T_end.

One data function, `curves`, feeds both forms: a page that needs no Python any more (`html`) and ipywidgets in
a live kernel (`widget`).
"""

from __future__ import annotations

import json
from typing import Any, TypedDict

import plotly.graph_objects as go

from book.report import explorers, figures
from rigl.sparsity.schedules import drop_fraction
from rigl.training.config import RunConfig

PLAN = RunConfig(protocol="paper", dataset="cifar10")  # its alpha, Delta-T and T_end are the recommended ones
ALPHAS = tuple(round(0.05 * count, 2) for count in range(1, 13))
ENDS = tuple(round(0.05 * count, 2) for count in range(5, 21))
SHOWN_STEPS = tuple(round(PLAN.total_steps * part / 50) for part in range(51))


class Curve(TypedDict):
    """The drop fraction at each of `SHOWN_STEPS` for one alpha and T_end, and what that comes to."""

    values: list[float]
    text: str


def curves() -> list[list[Curve]]:
    """A curve for each of `ALPHAS` and, within it, each of `ENDS` (shares of the training)."""
    return [[curve(alpha, end) for end in ENDS] for alpha in ALPHAS]


def curve(alpha: float, end: float) -> Curve:
    """The schedule of `PLAN` with these two knobs in place of its own."""
    t_end = end * PLAN.total_steps
    updates = [step for step in range(PLAN.delta_t - 1, PLAN.total_steps, PLAN.delta_t) if step < t_end]
    fractions = [drop_fraction(step, t_end, alpha) for step in updates]
    text = (
        f"alpha = {alpha:g}, T_end = {t_end:,.0f} of {PLAN.total_steps:,} steps: {len(updates)} updates, one "
        f"in {PLAN.delta_t} steps. The first drops {fractions[0]:.1%} of a layer's active weights, the one "
        f"half-way {fractions[len(updates) // 2]:.1%}, the last {fractions[-1]:.2%}; all of them together "
        f"{sum(fractions):.0f} times as many weights as are active."
    )
    return {"values": [round(drop_fraction(step, t_end, alpha), 5) for step in SHOWN_STEPS], "text": text}


def figure(shown: Curve) -> go.Figure:
    """A curve, and beside it the recommended one; the page's script puts other numbers into the first."""
    usual = curve(PLAN.alpha, PLAN.t_end)
    fig = go.Figure()
    for name, values, look in (
        ("chosen", shown["values"], {"color": figures.BLUE, "width": 3}),
        ("recommended", usual["values"], {"color": figures.ORANGE, "dash": "dot", "width": 2}),
    ):
        fig.add_scatter(
            x=list(SHOWN_STEPS),
            y=values,
            name=name,
            mode="lines",
            line=look,
            hovertemplate="step %{x:,}: %{y:.4f}<extra></extra>",
        )
    figures.styled(fig, height=320, xaxis_title="training step", yaxis_title="drop fraction")
    fig.update_xaxes(nticks=5)
    return fig.update_yaxes(range=[0, 1.05 * max(ALPHAS)])


def _start() -> tuple[int, int]:
    return ALPHAS.index(PLAN.alpha), ENDS.index(PLAN.t_end)


def html() -> str:
    """The explorer as a fragment of HTML that works by itself wherever plotly.js is loaded before it."""
    table, (alpha, end) = curves(), _start()
    shown = table[alpha][end]
    data = {
        **{"curves": table, "alphas": ALPHAS, "ends": ENDS, "config": figures.CONFIG},
        "figure": json.loads(figure(shown).to_json()),
    }
    what = "The drop fraction falls along half a cosine from alpha at the start to 0 at T_end and stays there"
    return f"""<div class="schedule">
<div class="explorer-controls">
<label>alpha <input name="alpha" type="range" min="0" max="{len(ALPHAS) - 1}" value="{alpha}">
<output>{ALPHAS[alpha]:g}</output></label>
<label>T_end, share of the training
<input name="end" type="range" min="0" max="{len(ENDS) - 1}" value="{end}">
<output>{ENDS[end]:g}</output></label>
</div>
<p class="explorer-summary" aria-live="polite">{shown["text"]}</p>
<div class="plotly-graph-div" role="img" aria-label="{what}"></div>
<p><a download="schedule.csv">Data as csv</a></p>
{explorers.scripts(__file__, data)}
</div>"""


def widget() -> Any:
    """The explorer as an ipywidgets box; needs ipywidgets and a live kernel."""
    import ipywidgets as ipw

    table, (first, last) = curves(), _start()
    alpha = ipw.SelectionSlider(options=ALPHAS, value=ALPHAS[first], description="alpha")
    end = ipw.SelectionSlider(options=ENDS, value=ENDS[last], description="T_end")
    summary, plot = ipw.HTML(), ipw.Output()

    def draw() -> None:
        shown = table[ALPHAS.index(alpha.value)][ENDS.index(end.value)]
        summary.value = shown["text"]
        explorers.redraw(plot, figure(shown), shown["text"])

    explorers.live((alpha, end), draw)
    return ipw.VBox([ipw.HBox([alpha, end]), summary, plot])


def show() -> None:
    """Display the explorer: in a page of the book the static form, in a live kernel the widgets."""
    explorers.show(html, widget)
