"""The cost page's tables follow from the benchmark's records, whatever machines these are of."""

import copy
import json

import pytest

from book.report import cost
from rigl.sparsity.flops import forward_flops
from rigl.training.config import RunConfig
from rigl.training.project import model_layers


@pytest.fixture
def benchmark():
    return copy.deepcopy(cost.benchmarks()[0])


def test_every_method_that_was_timed_is_a_row(benchmark) -> None:
    table = cost.methods(benchmark)
    assert {"RigL", "SET", "SNFS", "Pruning", "Static", "Lottery ticket"} <= set(table["Method"])
    ratio = benchmark["ratios"]["rigl against dense, a step, updates included"]["median"]
    (row,) = table[table["Method"] == "RigL"].to_dict("records")
    assert row["A step against dense"].startswith(f"{ratio:.3f}<br>")
    update = 1000 * benchmark["seconds"]["rigl, an update"]["median"]
    assert row["An update, ms"] == f"{update:.1f}"
    assert table.set_index("Method")["An update, ms"]["Static"] == "-"


def test_the_parts_of_a_step_are_drawn(benchmark) -> None:
    bars = cost.split(benchmark).data
    assert [bar.name for bar in bars] == ["data", "forward", "backward", "optimiser"]
    assert bars[1].x[0] == pytest.approx(1000 * benchmark["seconds"]["forward"]["median"])


def test_shares_of_the_limits(benchmark) -> None:
    table = cost.limits(benchmark)
    shares = [float(text.partition("<br>")[0]) for text in table["Share"]]
    larger = table["Limit"][shares.index(max(shares))]
    assert larger == benchmark["limit"]


def test_networks_that_really_are_smaller(benchmark, monkeypatch) -> None:
    monkeypatch.setattr(cost, "benchmarks", lambda: [benchmark])
    assert list(cost.smaller()["Network"]) == ["Small-dense", "RigL-struct (uniform)", "RigL-struct (ERK)"]


@pytest.mark.parametrize(
    ("ratio", "told"), [(0.25, "saves 75 % of a training step"), (1.5, "adds 50 % to a")]
)
def test_what_is_saved_is_told_from_the_worst_of_the_ratios(benchmark, monkeypatch, ratio, told) -> None:
    monkeypatch.setattr(cost, "benchmarks", lambda: [benchmark])
    for key in benchmark["ratios"]:
        if key.endswith("wall time of training"):
            benchmark["ratios"][key] = {"median": 0.1, "low": 0.1, "high": 0.1}
    key = next(key for key in benchmark["ratios"] if "struct" in key.lower() and key.endswith("of training"))
    benchmark["ratios"][key] = {"median": ratio, "low": ratio, "high": ratio}
    assert told in cost.saved()


def test_what_capturing_and_lanes_gain_is_told_where_it_was_measured(benchmark) -> None:
    benchmark["ratios"]["4 lanes against one, images a second"] = {"median": 1.5, "low": 1.4, "high": 1.6}
    table = cost.captured(benchmark).set_index("What")
    found = table.loc["4 runs at once against 1", "Images a second"]
    assert found == "1.500<br><small>1.400 to 1.600</small>"
    benchmark["ratios"] = {}
    assert cost.captured(benchmark).empty


def test_a_run_costs_three_dense_passes_an_image() -> None:
    dense = forward_flops(model_layers()["wrn-22-2 on cifar10"])
    run = RunConfig(protocol="paper", dataset="cifar10", method="rigl", density=0.1, multiplier=2)
    assert cost.flops(run) == 3 * dense * 45_000 * 500
    small = RunConfig(protocol="paper", dataset="cifar10", method="small-dense", density=0.1)
    assert cost.flops(small) == pytest.approx(0.1 * 3 * dense * 45_000 * 250)


def test_the_report_against_ours(root, monkeypatch, benchmark) -> None:
    benchmark["images_per_second"]["dense"] = 1000.0
    benchmark["ratios"]["2 lanes against one, images a second"] = {"median": 2.0, "low": 2.0, "high": 2.0}
    for lanes in (4, 8):
        benchmark["ratios"].pop(f"{lanes} lanes against one, images a second", None)
    monkeypatch.setattr(cost, "benchmarks", lambda: [benchmark])
    theirs, ours = cost.report_time().to_dict("records")
    printed = json.loads((root / "results" / "published.json").read_text())["compute"]
    assert theirs["A run on CIFAR-100, h"] == str(printed["hours_per_run"]["cifar100"])
    assert theirs["All tables and figures, h"] == "14 days, as printed"
    assert ours["A run on CIFAR-10, h"] == f"{45_000 * 250 / 1000 / 3600:.2f}"
    whole, halved = (
        float(ours[key].partition(", ")[0].replace(",", ""))
        for key in ("All tables and figures, h", "Several runs at once, h")
    )
    assert halved == pytest.approx(whole / 2, rel=0.01)
    assert ours["Several runs at once, h"].endswith(", 2 at once")


def test_the_ceiling_follows_from_the_limits(benchmark) -> None:
    shares = [
        benchmark["ratios"][f"a step's {unit} against a {large}'s"]["median"]
        for _, unit, large in cost.LIMITS
    ]
    assert f"{1 / max(shares):.1f} times as fast" in cost.ceiling(benchmark)


def test_a_book_without_a_benchmark_says_so(monkeypatch) -> None:
    monkeypatch.setattr(cost, "benchmarks", lambda: [])
    assert cost.first() is None
    assert all(table.empty for table in (cost.methods(None), cost.limits(None), cost.smaller()))
    assert "Nothing has been measured yet" in cost.ceiling(None)
    assert cost.speed().empty
    assert "Nothing has been measured yet" in cost.saved()
    assert len(cost.report_time()) == 1
