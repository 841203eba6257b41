"""The report's tables beside ours: each run under its own row, each difference from the right figure."""

import re
from math import sqrt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.report import runs, tables
from book.report.runs import published
from book.report.tables import Row, rows
from report.sample import record
from rigl.campaign import experiments
from rigl.training import records
from rigl.training.config import RunConfig

TENTH = {"protocol": "tenth", "dataset": "cifar10", "model": "wrn-22-2"}
LENET = {"protocol": "laptop", "dataset": "fashion-mnist", "model": "lenet-300-100"}


@pytest.fixture
def saved(project):
    """The frame of the runs that a test saves."""

    def save(*made: records.Record) -> pd.DataFrame:
        for each in made:
            records.save(each, project / "results")
        return runs.load()

    return save


def find(found: list[Row], **knobs: object) -> Row:
    (row,) = [
        row
        for row in found
        if all(getattr(row.config, key) == value for key, value in {"multiplier": 1, **knobs}.items())
    ]
    return row


def cells(table: pd.DataFrame, position: int) -> dict[str, str]:
    """A row's cells, a button by its text."""
    made = {}
    for (group, name), value in table.iloc[position].items():
        button = re.search(r"<button[^>]*>([^<]*)<", str(value))
        made[f"{group} {name}".strip()] = button[1] if button else str(value)
    return made


def test_a_run_stands_in_its_own_row_only(saved) -> None:
    run = {**TENTH, "method": "rigl", "distribution": "erk", "density": 0.1}
    frame = saved(
        record(91.0, **run),
        record(92.0, **run, seed=1),
        record(50.0, **run, seed=2, alpha=0.5),
        record(60.0, **{**run, "protocol": "paper"}),
        record(70.0, **run, multiplier=2),
    )
    found = rows("table2", frame, **TENTH)
    assert len(found) == len(experiments.configs("table2", protocol="tenth"))
    row = find(found, method="rigl", distribution="erk", density=0.1)
    assert list(row.accuracies) == [91.0, 92.0]
    assert (row.reported("accuracy"), row.reported("std")) == (92.4, 0.06)
    assert list(find(found, **{**run, "multiplier": 2}).accuracies) == [70.0]
    assert sum(len(each.runs) for each in found) == 3


def test_seeds_can_be_chosen(saved) -> None:
    frame = saved(*(record(80.0 + seed, seed=seed, method="dense") for seed in range(3)))
    (dense,) = [row for row in rows("table2", frame, **LENET, seeds=(0, 2)) if row.config.method == "dense"]
    assert list(dense.accuracies) == [80.0, 82.0]


PAPER = TENTH | {"protocol": "paper"}


def test_the_reports_own_protocol_stands_beside_its_numbers(saved) -> None:
    rigl = {**PAPER, "method": "rigl", "distribution": "erk", "density": 0.1}
    frame = saved(record(91.0, **rigl), record(92.0, **rigl, seed=1), record(93.0, **PAPER, method="dense"))
    found = rows("table2", frame, **PAPER)
    table = tables.table("table2", found, tables.top(found, found[0]), "here")
    at = next(i for i, row in enumerate(found) if row is find(found, **{k: rigl[k] for k in list(rigl)[3:]}))
    line = cells(table, at)
    error = sqrt(0.5 / 2 + 0.06**2 / 3)
    assert line["Accuracy, % ours"] == "91.50 ± 0.71"
    assert line["Accuracy, % report"] == "92.4 ± 0.06", "as it prints it"
    assert line["Accuracy, % ours - report"] == f"-0.90 ± {error:.2f}"
    assert line["Training FLOPs, x report"] == "0.17"
    assert not any("below dense" in name for name in line)
    others = [cells(table, i)["Accuracy, % ours"] for i in range(len(table)) if i != at]
    assert sorted(set(others)) == ["93.00", "not run"]


@pytest.mark.parametrize("knobs", [TENTH, LENET])
def test_under_another_protocol_only_distances_from_dense_are_compared(saved, knobs) -> None:
    rigl = {**knobs, "method": "rigl", "distribution": "erk", "density": 0.1}
    frame = saved(record(91.5, **rigl), record(93.0, **knobs, method="dense"))
    found = rows("table2", frame, **knobs)
    table = tables.table("table2", found, tables.top(found, found[0]), "here")
    at = next(i for i, row in enumerate(found) if row is find(found, **{k: rigl[k] for k in list(rigl)[3:]}))
    line = cells(table, at)
    assert line["Points below dense ours"] == "1.50"
    assert line["Points below dense report: WRN-22-2 on CIFAR-10"] == "1.00"
    assert not [name for name in line if "report" in name and not name.startswith("Points below dense")]


def test_a_setting_says_what_it_changes_in_words(saved) -> None:
    found = rows("table4", saved(record()), **PAPER)
    tuned = [row for row in found if row.config.delta_t == 950]
    (line,) = (cells(tables.table("table4", tuned, found[0], "here"), i) for i in range(len(tuned)))
    assert line["Setting"] == f"RigL (ERK), alpha {tuned[0].config.alpha:g}, Delta-T 950"
    assert line["Accuracy, % report"] == "93.1 ± 0.21"


def test_what_is_not_run_says_how(saved) -> None:
    setup = tables.Setup(*LENET.values(), None, saved(record()))
    words = tables.command("table2", setup).split()
    assert words[:5] == ["python", "-m", "rigl.campaign", "run", "table2"]
    assert dict(zip(words[5::2], words[6::2], strict=True)) == {f"--{k}": v for k, v in LENET.items()}


@pytest.mark.parametrize("name", ["table2", "table3", "table4", "table5", "supplement-table2"])
def test_every_published_figure_finds_its_row(name: str, tmp_path) -> None:
    frame = runs.load(tmp_path)
    for dataset, model in (("cifar10", "wrn-22-2"), ("cifar100", "resnet-50")):
        printed = published(table=name, dataset=dataset)
        if len(printed):
            found = rows(name, frame, protocol="paper", dataset=dataset, model=model)
            values = sorted(row.reported("accuracy") for row in found if row.report is not None)
            assert values == sorted(printed["accuracy"])


def test_runs_behind_a_figure_are_escaped_and_linked(saved) -> None:
    frame = saved(record(88.0, device="<b>chip", method="dense"), record(None, seed=1, method="dense"))
    (dense,) = [row for row in rows("table2", frame, **LENET) if row.config.method == "dense"]
    cell = tables.ours(dense, "here")
    assert "<b>chip" not in cell
    assert "&lt;b&gt;chip" in cell
    assert f'href="../results/fashion-mnist/{dense.config.name}.json"' in cell
    assert "diverged" in cell
    assert "\n" not in cell


def ranked(*means: float) -> list[Row]:
    """Rows of methods that the report ranks static < set < rigl, with these means over three seeds."""
    made = []
    for method, mean, theirs in zip(("static", "set", "rigl"), means, (89.0, 91.0, 92.0), strict=True):
        found = pd.DataFrame({"test_accuracy": [mean - 0.1, mean, mean + 0.1]})
        report = pd.Series({"accuracy": theirs, "std": 0.1})
        made.append(Row(RunConfig(**LENET, method=method, density=0.1), found, report))
    return made


@pytest.mark.parametrize(
    ("means", "told"),
    [
        ((80.0, 81.0, 82.0), "3 come out the same way here, 0 are not told apart, and 0 come out"),
        ((82.0, 81.0, 80.0), "0 come out the same way here, 0 are not told apart, and 3 come out"),
        ((80.0, 80.0, 81.0), "2 come out the same way here, 1 are not told apart, and 0 come out"),
    ],
)
def test_ranks_against_the_report(means, told: str) -> None:
    assert told in tables.ranking(ranked(*means))


@given(st.permutations([80.0, 81.0, 82.0]))
def test_each_pair_is_ranked_one_way(means) -> None:
    text = tables.ranking(ranked(*means))
    counts = [int(number) for number in re.findall(r"(\d+) (?:come|are)", text)]
    assert sum(counts) == 3
    assert text.count("\n- ") == counts[2]


def test_no_ranks_without_seeds() -> None:
    assert tables.ranking([]) == ""
