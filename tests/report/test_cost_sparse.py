"""The cost page's part on sparse execution follows from its benchmark's record and from records of runs."""

import pandas as pd
import pytest

from book.report import cost_sparse, display


def spread(value):
    return {"median": value, "low": 0.9 * value, "high": 1.1 * value}


@pytest.fixture
def benchmark():
    def trained(method, execution, density, seconds):
        kind = {"method": method, "execution": execution, "density": density}
        place = {"network": "MLP", "threads": 2, "rounds": 9}
        return {**place, **kind, "seconds": spread(seconds), "faster": spread(0.01 / seconds)}

    def model(form, scale):
        sizes = {"file": int(4e6 * scale), "memory": int(4e6 * scale)}
        times = {"latency_1": spread(1e-4 * scale), "latency_256": spread(1e-2 * scale)}
        return {"network": "MLP", "form": form, "density": 0.05, "threads": 2, **sizes, **times}

    return {
        "training": [
            trained("dense", "masked", 1.0, 0.01),
            trained("rigl", "masked", 0.05, 0.011),
            trained("rigl", "sparse", 0.05, 0.004),
            trained("rigl", "auto", 0.05, 0.002),
        ],
        "memory": [
            {"network": "MLP", "method": method, "execution": execution, "density": 0.05, "bytes": size}
            for method, execution, size in (
                ("dense", "masked", 200_000_000),
                ("rigl", "masked", 230_000_000),
                ("rigl", "sparse", 210_000_000),
            )
        ],
        "models": [model("dense", 1), model("small-dense", 0.05), model("masked", 1), model("sparse", 0.1)],
    }


def test_tables(benchmark):
    (row,) = cost_sparse.training(benchmark).to_dict("records")
    assert row["sparse, 0.05"] == "2.50<br><small>2.25 to 2.75</small>"
    assert row["auto, 0.05"].startswith("5.00")
    table = cost_sparse.models(benchmark).set_index("Form")
    assert [*table["File, MB"]] == ["4.00", "0.20", "4.00", "0.40"]
    assert table["Training step, ms"].to_dict() == {
        "dense": "-",  # at density 0.05 it is another network
        "small-dense": "-",
        "masked": "11.00",
        "sparse": "4.00",
    }
    assert cost_sparse.memory(benchmark) == (
        "Peak memory that training adds to the process: MLP 210 MB sparse, 230 masked, 200 dense."
    )
    text = cost_sparse.meaning(benchmark)
    assert "a sparse model is 10.0 to 10.0 times as fast" in text
    assert "A small dense network with as many weights was faster for all of MLP" in text
    benchmark["models"][3]["latency_256"] = spread(1e-5)
    assert "only for MLP" in cost_sparse.meaning(benchmark)


def test_nothing_measured():
    assert cost_sparse.training(None).empty
    assert cost_sparse.models(None).empty
    assert cost_sparse.memory(None) == ""
    assert "not measured" in cost_sparse.meaning(None)
    assert cost_sparse.in_short(None, None) == ""


def test_in_short(benchmark):
    step = {"device": "a GPU", "ratios": {"rigl against dense, a step, updates included": spread(1.02)}}
    text = cost_sparse.in_short(step, benchmark)
    assert "a step of RigL takes 1.02 times as long as a dense one (a GPU)" in text
    assert "5.0 to 5.0 times as fast as a dense one" in text
    assert "takes at most 10% of the dense one's space" in text
    assert "Training takes 1.05 to 1.05 times the memory" in text


def test_race(tmp_path, monkeypatch):
    monkeypatch.setattr(display, "folder", lambda name="results": tmp_path)
    assert cost_sparse.race().empty
    rows = [
        {
            "method": method,
            "density": density,
            "weights": weights,
            "seed": seed,
            "wall_seconds": time,
            "test_accuracy": accuracy,
        }
        for seed in (0, 1)
        for method, density, weights, time, accuracy in (
            ("dense", 1.0, 266200, 60.0, 89.0),
            ("rigl", 0.05, 13310, 30.0 + seed, 88.0),
            ("small-dense", 0.05, 54222, 20.0, 87.0 + seed / 2),
            ("small-dense", 0.00321, 12674, 15.0, 85.0),
        )
    ]
    runs = pd.DataFrame(rows)
    assert cost_sparse.race_text(runs) == (
        "With as many weights as a small dense network, RigL is more accurate at 1 of 1 densities and takes "
        "longer at 1. RigL at density 0.05 (13k weights): 88.00 %, 30 s; small-dense with as many weights: "
        "85.00 %, 15 s; small-dense of the report's widths (54k weights): 87.25 %, 20 s. Dense: 89.00 %, "
        "60 s."
    )
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in cost_sparse.race_plot(runs).data}
    assert drawn["RigL, 13k weights"] == ([30.0, 31.0], [88.0, 88.0])
    assert len(drawn) == 4
