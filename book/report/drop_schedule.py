"""The schedule of the drop fraction and its two parameters, alpha and T_end, on two sliders."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from book.report import display
from rigl.sparsity.schedules import drop_fraction
from rigl.training.config import RunConfig

PLAN = RunConfig(protocol="paper", dataset="cifar10")  # its alpha, Delta-T and T_end are the recommended ones
ALPHAS = tuple(round(0.05 * count, 2) for count in range(1, 13))
ENDS = tuple(round(0.05 * count, 2) for count in range(5, 21))
SHOWN_STEPS = tuple(round(PLAN.total_steps * part / 50) for part in range(51))
WIDTH, HEIGHT = 600, 260  # of the plot, in units of the picture


def curves() -> list[list[dict[str, Any]]]:
    """A curve for each of `ALPHAS` and, within it, each of `ENDS` (shares of the training)."""
    return [[curve(alpha, end) for end in ENDS] for alpha in ALPHAS]


def curve(alpha: float, end: float) -> dict[str, Any]:
    """The schedule of `PLAN` with these two parameters in place of its own: its `values`, the drop fraction
    at each of `SHOWN_STEPS`, and a `text` on what it adds up to."""
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


def path(values: list[float]) -> str:
    """A curve as an SVG path; the page's script makes the same one."""
    last, top = len(values) - 1, max(ALPHAS)
    points = (f"{WIDTH * at / last:g} {HEIGHT * (1 - value / top):g}" for at, value in enumerate(values))
    return "M" + "L".join(points)


def html() -> Markup:
    """The sliders and the curve as standalone HTML."""
    table, alpha, end = curves(), ALPHAS.index(PLAN.alpha), ENDS.index(PLAN.t_end)
    start = table[alpha][end]
    return display.render(
        "drop_schedule",
        data={"curves": table, "alphas": ALPHAS, "ends": ENDS, "steps": SHOWN_STEPS}
        | {"width": WIDTH, "height": HEIGHT, "top": max(ALPHAS)},
        alpha=alpha,
        end=end,
        text=start["text"],
        path=path(start["values"]),
        across=[(WIDTH * part / 4, f"{PLAN.total_steps * part // 4:,}") for part in range(5)],
        up=[(HEIGHT * (1 - value / max(ALPHAS)), f"{value:g}") for value in (0, 0.2, 0.4, 0.6)],
    )
