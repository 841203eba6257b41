"""The table of methods is made from their rows."""

from book.report import catalogue
from rigl.sparsity.methods import METHODS, Method


def test_every_method_is_a_row():
    rows = catalogue.table()
    assert all(f"<code>{name}</code>" in cell for name, cell in zip(METHODS, rows["Method"], strict=True))
    rows.index = rows["Method"].str.partition("<br>")[0]
    assert len(rows) == len(METHODS)
    rigl = rows.loc["RigL"]
    assert (rigl["Drops"], rigl["Grows"], rigl["Dense gradients"]) == (
        "smallest |w|",
        "largest |g|",
        "at updates",
    )
    # (3 * 100 * 0.1 + 2 * 0.1 + 1) / 101 of 3
    assert float(rigl["FLOPs"]) == 0.103
    assert float(rows.loc["SNFS", "FLOPs"]) == 0.4
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
        "mine<br><code>mine</code>",
        "largest mine",
        "by mean |momentum|",
    )
