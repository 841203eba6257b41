"""What is loaded: settings are runs that differ by seed only, and the report's numbers are complete, and as
printed."""

import statistics

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.report import runs
from book.report.runs import published
from report.sample import record
from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.sparsity.methods import METHODS
from rigl.training import records


def frame_of(tmp_path, *made: records.Record) -> pd.DataFrame:
    for run in made:
        records.save(run, tmp_path)
    return runs.load(tmp_path)


def test_mean_and_sample_deviation(tmp_path) -> None:
    frame = frame_of(tmp_path, *(record(x, seed=i) for i, x in enumerate((80.0, 81.0, 85.0))))
    (row,) = runs.settings(frame).to_dict("records")
    assert row["mean"] == 82.0
    assert row["std"] == pytest.approx(statistics.stdev((80.0, 81.0, 85.0)))
    assert (row["seeds"], row["diverged"]) == (3, 0)
    assert row["train_flops"] == pytest.approx(0.1)
    assert row["test_flops"] == pytest.approx(0.1)


def test_a_diverged_run_is_counted_and_not_averaged(tmp_path) -> None:
    frame = frame_of(tmp_path, record(80.0, seed=0), record(None, seed=1))
    (row,) = runs.settings(frame).to_dict("records")
    assert (row["mean"], row["seeds"], row["diverged"]) == (80.0, 1, 1)
    assert row["names"] == tuple(frame["name"])


def test_settings_stay_apart(tmp_path) -> None:
    made = [
        record(),
        record(protocol="smoke", dataset="digits"),
        record(dataset="cifar10"),
        record(model="wrn-10-1"),
        record(method="set"),
        record(method="dense"),
        record(distribution="uniform"),
        record(density=0.2),
        record(multiplier=2),
        record(preset="google"),
    ]
    table = runs.settings(frame_of(tmp_path, *made))
    assert len(table) == len(made)
    assert set(table["seeds"]) == {1}


def test_nothing_gives_an_empty_table(tmp_path) -> None:
    table = runs.settings(runs.load(tmp_path))
    assert table.empty
    assert {"mean", "std", "seeds", "diverged"} <= set(table.columns)


ACCURACY = st.one_of(st.none(), st.floats(0, 100))


@given(
    st.lists(st.tuples(st.sampled_from(["paper", "laptop"]), st.sampled_from("ab"), ACCURACY), max_size=20)
)
def test_every_run_is_counted_once_and_under_its_own_protocol(rows) -> None:
    plain = {"name": "n", "dataset": "d", "model": "m", "distribution": None, "density": 0.1, "multiplier": 1}
    plain |= {"preset": "repro2021", "train_flops": 0.1, "test_flops": 0.1, "variant": "", "seed": 0}
    plain |= {"validation_accuracy": None, "record": None}
    frame = pd.DataFrame(
        [
            {**plain, "protocol": p, "method": m, "test_accuracy": x}
            | {"status": "diverged" if x is None else "finished"}
            for p, m, x in rows
        ],
        columns=[*plain, "protocol", "method", "test_accuracy", "status"],
    ).astype({"variant": object})
    table = runs.settings(frame)
    assert table["seeds"].sum() + table["diverged"].sum() == len(rows)
    for _, row in table.iterrows():
        mine = [x for p, m, x in rows if (p, m) == (row["protocol"], row["method"]) and x is not None]
        assert row["seeds"] == len(mine)
        if mine:
            assert row["mean"] == pytest.approx(statistics.fmean(mine))


def test_every_table_is_there_with_its_rows() -> None:
    sizes = published().groupby("table").size().to_dict()
    assert sizes == {
        "table1": 10,
        "table2": 31,
        "table3": 29,
        "table4": 12,
        "table5": 32,
        "supplement-table2": 20,
    }


def test_names_are_ours_and_values_possible() -> None:
    frame = published()
    assert set(frame["method"]) <= set(METHODS)
    assert set(frame["distribution"].dropna()) <= set(DISTRIBUTIONS)
    assert frame["accuracy"].between(60, 95).all()
    assert frame["density"].between(0.05, 1).all()
    assert (
        not frame.duplicated(["table", "dataset", "method", "distribution", "density", "multiplier"])
        .where(frame["table"] != "table4", False)
        .any()
    )


def test_some_cells_as_printed() -> None:
    cell = published(table="table2", method="rigl", distribution="erk", density=0.1, multiplier=2)
    assert cell[["accuracy", "std", "train_flops", "test_flops"]].to_numpy().tolist() == [
        [92.7, 0.37, 0.34, 0.17]
    ]
    reinit = published(table="table5", method="rigl-reinit", dataset="cifar100", density=0.2)
    assert reinit["accuracy"].tolist() == [68.9, 68.9]
    assert published(table="table1", method="dense")["original"].tolist() == [94.1]


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(ValueError, match="'sparsity' is not a column"):
        published(sparsity=0.9)
