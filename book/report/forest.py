"""The forest plot: every claim's effect with its interval, a line a source, beside the region in which the
claim would hold.

It is an HTML table whose marks are placed in percent of a cell's width, so that it fits a phone, follows the
page's colours, and each mark is a link to its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

from markupsafe import Markup

from book.report import display, names
from book.report.claims import TOPICS, Claim, Finding, of
from book.report.evidence import GRADES, Source
from book.report.verdicts import anchor, chip, figure, mark, place, seeds


@dataclass(frozen=True)
class Scale:
    """An axis: its ends, ticks and name, and how a value is placed on it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    name: str
    form: str = "{:g}"
    place: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """Where a value lies, in percent of the axis; what lies outside is put at its end."""
        low, high = self.place(self.low), self.place(self.high)
        inside = min(max(value, self.low), self.high)
        return round(100 * (self.place(inside) - low) / (high - low), 2)


SCALES = {
    "points": Scale(-3, 3, (-3, -2, -1, 0, 1, 2, 3), "points of test accuracy", "{:+g}"),
    "times": Scale(1, 16, (1, 2, 4, 8, 16), "times the FLOPs", "{:g}x", log2),
    "%": Scale(0, 100, (0, 25, 50, 75, 100), "%"),
    "of the runs": Scale(0, 1, (0, 0.25, 0.5, 0.75, 1), "share of the runs"),
}


def html(found: Sequence[Finding]) -> Markup:
    """The plot of all claims in `found`. What has no interval is a hollow mark, all of a claim in one row."""
    topics = []
    for topic, claims in TOPICS.items():
        rows = []
        for claim in claims:
            mine = [each for each in of(found, claim.key) if each.verdict != "not tested"]
            lines: list[dict[str, Any]] = [
                {"source": _short(each.source), "marks": [_mark(each)], "verdict": chip(each)}
                for each in mine
                if each.known
            ]
            if hollow := [_mark(each) for each in mine if each.effect and not each.known]:
                lines.append({"source": "no interval", "marks": hollow, "verdict": mark("no interval")})
            if not lines:
                lines.append({"source": "no runs to compare", "marks": [], "verdict": mark("not tested")})
            rows.append({"claim": claim, "region": _region(claim), "lines": lines})
        scale = SCALES[claims[0].unit]
        ticks = [(scale.at(each), scale.form.format(each) if each else "0") for each in scale.ticks]
        topics.append({"name": topic, "scale": scale.name, "ticks": ticks, "rows": rows})
    return display.render(
        "forest",
        topics=topics,
        grades=[(key, text) for key, text in GRADES.items() if any(x.source.grade == key for x in found)],
    )


def _region(claim: Claim) -> tuple[float, float]:
    """Left end and width, in percent, of the effects for which the claim would be true."""
    scale = SCALES[claim.unit]
    left, right = scale.at(claim.region.low), scale.at(claim.region.high)
    return left, round(right - left, 2)


def _mark(found: Finding) -> dict[str, Any]:
    """Where an effect and its interval are drawn, and what is told of them; a hollow one has no interval."""
    effect, scale = found.effect, SCALES[found.claim.unit]
    assert effect is not None
    low, at, high = (scale.at(each) for each in (effect.low, effect.value, effect.high))
    return {
        "grade": found.source.grade,
        "hollow": not found.known,
        "low": low,
        "width": round(high - low, 2),
        "cut": ["left"] * (effect.low < scale.low) + ["right"] * (effect.high > scale.high),
        "at": at,
        "beyond": "left" if effect.value < scale.low else "right" if effect.value > scale.high else "",
        "anchor": anchor(found),
        "told": f"{place(found.source)}, {seeds(found.seeds)}: {figure(effect, found.claim.unit)}",
    }


def _short(source: Source) -> str:
    whose = "report" if source.printed else names.network(source.model)
    return f"{whose}, {names.dataset(source.dataset)}"
