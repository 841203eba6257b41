"""The forest plot places what the verdicts found."""

import re

import pytest

from book.report import forest, runs, verdicts
from book.report.claims import CLAIMS
from report.sample import record
from rigl.training import records


def plot(project, rigl, other="set"):
    for method, accuracies in (("rigl", rigl), (other, (86.0, 86.1, 86.2))):
        for seed, accuracy in enumerate(accuracies):
            records.save(record(accuracy, method=method, seed=seed), project / "results")
    found = verdicts.load(runs.load(searched=True))
    return found, forest.html(found)


def row(page: str, key: str) -> str:
    return page[page.index(f"#claim-{key}") :].partition("</tbody>")[0]


@pytest.mark.parametrize(
    ("scale", "value", "at"), [("points", 0, 50), ("times", 4, 50), ("%", 25, 25), ("points", 9, 100)]
)
def test_values_lie_where_their_scale_says(scale, value, at) -> None:
    assert forest.SCALES[scale].at(value) == at


def test_every_claim_is_a_row_and_every_unit_has_a_scale(project) -> None:
    _, page = plot(project, (88.0, 88.1, 88.2))
    assert re.findall(r"#claim-([^\"]*)\"", page) == [claim.key for claim in CLAIMS]
    assert {claim.unit for claim in CLAIMS} == set(forest.SCALES)


def test_a_line_is_the_effect_its_interval_and_its_verdict(project) -> None:
    found, page = plot(project, (88.0, 88.1, 88.2))
    (mine,) = (x for x in found if x.claim.key == "rigl-beats-set" and x.source.grade == "connected")
    scale, told = forest.SCALES["points"], row(page, "rigl-beats-set")
    assert f'class="dot connected" style="left:{scale.at(2.0)}%"' in told
    assert f'style="left:{scale.at(mine.effect.low)}%;width:' in told
    assert f'href="verdicts.html#{verdicts.anchor(mine)}"' in told
    assert told.index("report, CIFAR-10") < told.index(verdicts.mark("holds")), "strong evidence first"
    assert "LeNet-300-100 on Fashion-MNIST, 3 seeds: +2.00 points" in told
    assert f'class="holding" style="left:{scale.at(0)}%;width:50' in told


def test_what_lies_beyond_the_axis_points_there(project) -> None:
    _, page = plot(project, (95.0, 95.1, 95.2))
    assert 'class="connected beyond right"' in row(page, "rigl-beats-set")


def test_what_has_no_interval_is_hollow_and_has_no_line(project) -> None:
    _, page = plot(project, (88.0,))
    told = row(page, "rigl-beats-set")
    (hollow,) = re.findall(r'<a class="hollow connected" style="left:([\d.]+)%".*?</a>', told, re.S)
    assert float(hollow) == forest.SCALES["points"].at(1.9)
    assert told.count('class="whisker"') == 2, "the report's, on two data sets"
    assert "LeNet-300-100 on Fashion-MNIST, 1 to 3 seeds: +1.90 points, no interval" in told
