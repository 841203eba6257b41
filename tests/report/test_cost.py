"""The cost page's tables follow from the benchmark's records, whatever machines these are of."""

import copy
import json

import pytest

from book.report import cluster, cost


@pytest.fixture
def benchmark():
    return copy.deepcopy(cluster.benchmarks()[0])


def test_every_method_that_was_timed_is_a_row(benchmark) -> None:
    table = cost.methods(benchmark)
    assert {"rigl", "set", "snfs", "pruning", "static", "lottery"} <= set(table["Method"])
    ratio = benchmark["ratios"]["rigl against dense, a step, updates included"]["median"]
    (row,) = table[table["Method"] == "rigl"].to_dict("records")
    assert row["A step against dense"].startswith(f"{ratio:.3f} (")
    update = 1000 * benchmark["seconds"]["rigl, an update"]["median"]
    assert row["An update, ms"] == f"{update:.1f}"
    assert table.set_index("Method")["An update, ms"]["static"] == "-"


def test_the_parts_of_a_step_are_drawn(benchmark) -> None:
    bars = cost.split(benchmark).data
    assert [bar.name for bar in bars] == ["data", "forward", "backward", "optimiser"]
    assert bars[1].x[0] == pytest.approx(1000 * benchmark["seconds"]["forward"]["median"])


def test_shares_of_the_limits(benchmark) -> None:
    table = cost.limits(benchmark)
    shares = [float(text.split()[0]) for text in table["Share"]]
    larger = table["Limit"][shares.index(max(shares))]
    assert larger == benchmark["limit"]


def test_structured_networks(benchmark) -> None:
    assert list(cost.structured(benchmark)["Network"]) == [
        "small-dense",
        "RigL-struct, uniform",
        "RigL-struct, erk",
    ]


def test_what_was_not_measured_says_so(monkeypatch, benchmark) -> None:
    gpu = copy.deepcopy(benchmark)
    gpu["device"] = "NVIDIA H100 80GB HBM3"
    benchmark["threads"] = 2
    gpu["rates"]["8 lanes, images/s"] = {"median": 250 * 45_000 / 60, "low": 1, "high": 1}
    gpu.pop("peak_memory_resnet-50_bytes", None)
    monkeypatch.setattr(cluster, "benchmarks", lambda: [])
    column = cost.aims()["One H100"]
    assert {text.partition(" (")[0] for text in column} == {"-", cost.NOT}
    monkeypatch.setattr(cluster, "benchmarks", lambda: [gpu, benchmark])
    table = cost.aims().set_index("What")
    assert table["One H100"]["the same, one of 8 lanes, minutes a run"] == "1.0 (aim 1)"
    assert table["One H100"]["peak memory, ResNet-50 at batch 128, GB"] == f"{cost.NOT} (aim 3.5)"
    assert not table["Two CPU cores"].str.contains(cost.NOT).any()
    assert table["Two CPU cores"]["WRN-22-2, 250 epochs, alone, minutes"] == "-"
    assert len(cost.speed()) == 2


def test_the_report_against_ours(root) -> None:
    table = cost.report_time()
    theirs = json.loads((root / "results" / "published.json").read_text())["compute"]
    assert table["A run on CIFAR-100, h"][0] == str(theirs["hours_per_run"]["cifar100"])
    assert table["All tables and figures, h"][0] == "14 days, as printed"
    hours = float(table["A run on CIFAR-10, h"][1].replace(",", ""))
    run = cluster.flops(cost.RunConfig(protocol="paper", dataset="cifar10"))
    assert hours == pytest.approx(run / cluster.rate(cluster.benchmarks()[0]) / 3600, abs=0.06)


def test_the_ceiling_follows_from_the_limits(benchmark) -> None:
    shares = [benchmark["ratios"][f"a step's {name}"]["median"] for name in cost.LIMITS]
    assert f"{1 / max(shares):.1f} times as fast" in cost.ceiling(benchmark)


def test_a_book_without_a_benchmark_says_so(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "benchmarks", lambda: [])
    assert cost.first() is None
    assert all(table.empty for table in (cost.methods(None), cost.limits(None), cost.structured(None)))
    assert "Nothing has been measured yet" in cost.ceiling(None)
    assert cost.speed().empty
    assert len(cost.report_time()) == 1
