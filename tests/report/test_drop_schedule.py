"""The schedule's explorer against rigl.sparsity.schedules."""

import json
import re

import pytest

from book.report import drop_schedule
from rigl.sparsity.schedules import drop_fraction

TABLE = drop_schedule.curves()


@pytest.mark.parametrize(("alpha", "end"), [(0.3, 0.75), (0.05, 0.25), (0.6, 1.0)])
def test_curves_are_what_the_package_computes(alpha: float, end: float) -> None:
    found = TABLE[drop_schedule.ALPHAS.index(alpha)][drop_schedule.ENDS.index(end)]
    expected = [drop_fraction(step, end * 88_000, alpha) for step in drop_schedule.SHOWN_STEPS]
    assert found["values"] == pytest.approx(expected, abs=1e-5)
    assert f"T_end = {end * 88_000:,.0f} of 88,000 steps: {end * 880:.0f} updates" in found["text"]
    assert f"first drops {alpha:.1%}" in found["text"]


def test_what_moves_in_all_is_the_area_under_the_curve() -> None:
    # Half a cosine has half the area of its rectangle: 660 updates of 0.15 on average.
    text = TABLE[drop_schedule.ALPHAS.index(0.3)][drop_schedule.ENDS.index(0.75)]["text"]
    assert int(re.search(r"(\d+) times as many", text)[1]) == round(660 * 0.15)


def test_page_opens_at_the_recommended_knobs() -> None:
    page = drop_schedule.html()
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["curves"] == TABLE
    found = TABLE[drop_schedule.ALPHAS.index(0.3)][drop_schedule.ENDS.index(0.75)]
    assert page.count(drop_schedule.path(found["values"])) == 2  # the chosen curve and the recommended one
    assert 'name="alpha-is">0.3</output>' in page
    assert 'name="end-is">0.75</output>' in page


def test_a_curve_starts_at_alpha_and_ends_at_zero() -> None:
    first, *_, last = drop_schedule.path([0.6, 0.3, 0.0]).removeprefix("M").split("L")
    assert (first, last) == ("0 0", f"{drop_schedule.WIDTH} {drop_schedule.HEIGHT}")
