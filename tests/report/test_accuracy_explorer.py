"""The accuracy explorer says what the records and the report say, and keeps the two apart."""

import json
import re
from math import nan

import pytest

from book.report import accuracy_explorer, figures, names, runs
from book.report.accuracy_explorer import AXES, OURS, REPORT
from book.report.runs import published
from book.report.statistics import Sample, welch
from book.report.tables import Setup
from report.sample import record
from rigl.sparsity.methods import METHODS, Method
from rigl.training import records

LAPTOP = ("laptop", "fashion-mnist", "lenet-300-100")
PAPER = ("paper", "cifar10", "wrn-22-2")


@pytest.fixture
def place(project):
    """What the explorer has of a set-up, after saving these records."""

    def make(*made: records.Record, of: tuple[str, str, str] = LAPTOP) -> list[dict[str, object]]:
        for each in made:
            records.save(each, project / "results")
        return accuracy_explorer.places([Setup(*of, None, runs.load())])

    return make


def test_every_usual_setting_is_a_mark_with_its_runs(place) -> None:
    made = [record(80.0 + seed, seed=seed, density=0.1) for seed in range(3)]
    others = [record(70.0, method="set"), record(50.0, alpha=0.5), record(None, method="snfs")]
    (found,) = place(*made, *others)
    rigl, other = sorted(found["marks"], key=lambda mark: -mark["mean"])
    assert (rigl["name"], rigl["mean"], rigl["seeds"], rigl["density"]) == ("RigL (ERK)", 81.0, 3, 0.1)
    assert rigl["deviation"] == 1.0
    assert rigl["interval"] == pytest.approx(welch(((1.0, Sample("", 81.0, 1.0, 3)),)).high - 81, rel=1e-3)
    assert [run["record"] for run in rigl["runs"]] == [each.name for each in made]
    assert rigl["runs"][0]["address"] == f"../results/fashion-mnist/{made[0].name}.json"
    assert (other["name"], other["deviation"], other["interval"]) == ("SET (ERK)", None, None)


def test_a_budget_of_flops_stands_where_it_cost(place) -> None:
    (found,) = place(record(80.0, density=None, flops=0.2))
    assert [mark["train_flops"] for mark in found["marks"]] == [0.2]


def test_the_report_stands_under_its_own_protocol_alone(place) -> None:
    (found,) = place(of=PAPER)
    assert {mark["source"] for mark in found["marks"]} == {REPORT}
    assert place(of=("tenth", *PAPER[1:])) == []
    (laptop,) = place(record(80.0))
    assert {mark["source"] for mark in laptop["marks"]} == {OURS}


def test_the_report_is_drawn_as_printed_and_each_setting_once(place) -> None:
    (found,) = place(of=PAPER)
    keys = [(m["method"], m["masks"], m["length"], m["density"]) for m in found["marks"]]
    assert len(set(keys)) == len(keys)
    for row in published(table="table2", dataset="cifar10").to_dict("records"):
        masks = row["distribution"] if isinstance(row["distribution"], str) else ""
        (mark,) = [
            found["marks"][at]
            for at, key in enumerate(keys)
            if key == (row["method"], masks, row["multiplier"], row["density"])
        ]
        assert (mark["mean"], mark["deviation"]) == (row["accuracy"], row["std"])
        assert (mark["train_flops"], mark["test_flops"]) == (row["train_flops"], row["test_flops"])
        assert (mark["seeds"], mark["printed"]) == (3, "Table 2")


def mark(name: str, mean: float, cost: float, deviation: float = 0.01) -> accuracy_explorer.Mark:
    row = {"distribution": None, "multiplier": 1, "density": 0.1, "train_flops": cost, "test_flops": nan}
    row |= {"method": name, "mean": mean, "std": deviation, "seeds": 3}
    return accuracy_explorer._mark(OURS, row) | {"name": name}


def test_a_sentence_says_what_is_best_for_the_money_and_whether_that_is_certain() -> None:
    cheap = [mark("a", 80.0, 0.1), mark("b", 81.0, 0.2), mark("c", 79.0, 0.1), mark("d", 78.0, 0.1)]
    dear = [mark("e", 81.0 + 1e-3, 0.5), mark("dense", 90.0, 1.0)]
    text = accuracy_explorer.sentence(cheap + dear, "train_flops")
    assert text.startswith(
        f"Of the methods ticked at first, by {OURS} (dense: 90.00 %), for at most a quarter of the dense"
    )
    assert "b at density 0.1 is best, 81.00 %, ahead of a at density 0.1, 80.00 %" in text
    assert "e at density 0.1 is best, 81.00 %, not told apart from b at density 0.1" in text
    assert accuracy_explorer.sentence(cheap[:2], "train_flops") == ""


@pytest.mark.parametrize("axis", AXES)
def test_the_page_holds_what_there_is(place, axis: str) -> None:
    page = accuracy_explorer.html(place(record(80.0), of=LAPTOP) + place(of=PAPER), axis)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["places"][0]["marks"][0]["mean"] == 80.0
    used = {found["method"] for each in data["places"] for found in each["marks"]}
    assert set(data["looks"]) == used
    assert [name for name in used if f"> {names.method(name)}<" not in page.replace("\n", "")] == []
    assert "NaN" not in page


def test_a_method_that_somebody_added_is_drawn(place, monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "contrary", Method("contrary", grow="gradient"))
    page = accuracy_explorer.html(place(record(80.0, method="contrary")), "density")
    assert 'value="contrary" checked' in page
    assert figures.OTHER[0] in page


def test_nothing_to_draw_is_said(place, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(accuracy_explorer.display, "show", shown.append)
    accuracy_explorer.show([], "density")
    assert "No runs yet" in shown[0]
