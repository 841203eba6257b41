"""Two precisions are never one mean: in no table, plot or verdict."""

from __future__ import annotations

import pytest

from book.report import accuracy_explorer, claims, names, runs, tables
from book.report.tables import Setup
from report.sample import record
from rigl.training import records

KNOBS = {"protocol": "laptop", "dataset": "fashion-mnist", "model": "lenet-300-100"}
EXACT, ROUGH = (80.0, 82.0), (90.0, 94.0)


@pytest.fixture
def frame(project):
    """RigL and SET at two seeds in float32, each also in bf16: asked for, and, for a forged record, not."""
    for method, less in (("rigl", 0.0), ("set", 1.0)):
        for seed in (0, 1):
            knobs = {"method": method, "seed": seed, **KNOBS}
            records.save(record(EXACT[seed] - less, **knobs), project / "results")
            asked = {**knobs, "precision": "bf16"}
            records.save(record(ROUGH[seed] - less, computed="bf16", **asked), project / "results")
    # The report's protocol asks for no precision: one name, but not one setting.
    for seed, computed, accuracy in ((0, "bf16", 93.0), (1, "bf16", 94.0), (2, "float32", 60.0)):
        for protocol in ("paper", "tenth"):
            knobs = {"protocol": protocol, "dataset": "cifar10", "method": "rigl", "seed": seed}
            records.save(record(accuracy, computed=computed, **knobs), project / "results")
    return runs.load()


def test_tables_of_settings(frame):
    means = runs.settings(frame[frame["protocol"] == "laptop"])
    assert sorted(means["mean"]) == [80.0, 81.0, 91.0, 92.0]
    assert {names.of(row) for _, row in means.iterrows()} == {
        *("RigL (ERK)", "SET (ERK)", "RigL (ERK), precision bf16", "SET (ERK), precision bf16")
    }


def test_rows_of_the_reports_tables(frame):
    asked = {"protocol": "paper", "dataset": "cifar10", "model": "wrn-22-2"}
    rows = [row for row in tables.rows("table2", frame, **asked) if len(row.runs)]
    assert [(row.mean, row.precision) for row in rows] == [(93.5, ""), (60.0, "float32")]
    table = tables.table("table2", rows, rows[0], "here")
    assert list(table["", "Setting"]) == ["RigL (ERK)", "RigL (ERK), float32"]
    rows = [row for row in tables.rows("table2", frame, **asked | {"protocol": "tenth"}) if len(row.runs)]
    below = tables.table("table2", rows, rows[0], "here")["Points below dense", "ours"].tolist()
    assert below == ["0.00", "-"]


def test_plots(frame):
    mine = Setup(*KNOBS.values(), None, frame)
    assert sorted(mine.usual["test_accuracy"]) == [79.0, 80.0, 81.0, 82.0]
    (drawn,) = accuracy_explorer.places([mine])
    assert sorted(mark["mean"] for mark in drawn["marks"]) == [80.0, 81.0]


def test_verdicts(frame):
    for found in claims.findings(frame):
        if found.claim.key == "rigl-beats-set" and found.source.protocol == "laptop":
            names = frame.set_index("name")["precision"]
            assert {names[run] for run in found.runs} == {"float32"}
            assert found.effect.value == pytest.approx(1.0)
            break
    else:
        pytest.fail("no finding")
