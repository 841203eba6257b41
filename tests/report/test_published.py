"""The report's figures as data: complete, under our names, and as printed."""

from math import nan

import pytest

from book.report.runs import published
from rigl.campaign.experiments import TABLES, rows
from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.sparsity.methods import METHODS
from rigl.training.config import RunConfig


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


@pytest.mark.parametrize("name", [name for name in TABLES if "table" in name])
def test_a_tables_rows_are_those_that_the_campaign_trains(name: str) -> None:
    knobs = ("dataset", "model", "method", "distribution", "density", "multiplier", "alpha", "delta_t")
    common = {"validation": 0} if name == "table1" else {}
    printed = {
        RunConfig(
            protocol="paper", **common, **{key: row[key] for key in knobs if row.get(key) == row.get(key)}
        ).name
        for row in published(table=name).replace({None: nan}).to_dict("records")
    }
    assert printed == {config.name for config in rows(name, protocol="paper")}


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
