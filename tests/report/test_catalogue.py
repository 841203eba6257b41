"""The table of methods is made from their rows."""

from book.report import catalogue
from rigl.sparsity.methods import METHODS, Method


def test_every_method_is_a_row():
    rows = catalogue.table().set_index("Method")
    assert len(rows) == len(METHODS)
    rigl = rows.loc["RigL"]
    assert (rigl["Drops"], rigl["Grows"], rigl["Dense gradients"]) == (
        "smallest |w|",
        "largest |g|",
        "at updates",
    )
    # (3 * 100 * 0.1 + 2 * 0.1 + 1) / 101 of 3
    assert float(rigl["A step's FLOPs"]) == 0.103
    assert float(rows.loc["SNFS", "A step's FLOPs"]) == 0.4
    assert rows.loc["GraNet", "Density"] == "falls from 0.5"
    assert "https://arxiv.org/abs/2110.14032" in rows.loc["MEST", "Published"]
    assert rows.loc["Pruning", "Starts from"] == "a dense network"
    assert rows.loc["Lottery ticket", "Starts from"] == "Pruning's masks"


def test_a_method_that_somebody_adds_is_one_too(monkeypatch):
    def mine(weight, state, generator):
        return weight.abs()

    monkeypatch.setitem(METHODS, "mine", Method("mine", grow=mine, share="momentum"))
    row = catalogue.table().iloc[-1]
    assert (row["Method"], row["Grows"], row["Layers' budgets"]) == (
        "mine",
        "largest mine",
        "by mean |momentum|",
    )
