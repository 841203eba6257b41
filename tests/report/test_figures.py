"""Every figure says what its record says, and its output serves both readers."""

import json

import pytest

from book.report import figures
from report.sample import LENET, record
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.methods import METHODS
from rigl.training import records


def test_history_draws_losses_and_accuracies_and_nothing_else() -> None:
    run = record()
    drawn = {trace.name: list(trace.y) for trace in figures.history(run).data}
    assert drawn == {
        name.replace("_", " "): series for name, series in run.history.items() if name != "learning_rate"
    }


def test_densities_before_and_after() -> None:
    before, after = figures.densities(record(density=0.05)).data
    assert list(before.y) == list(after.y) == list(layer_densities(LENET, 0.05, "erk").values())
    assert before.name == "before (step 0)"
    assert after.name == "after (step 8,600)"
    assert [name for name, _ in before.customdata] == [layer.name for layer in LENET]


def test_flops_are_shares_of_dense() -> None:
    (bars,) = figures.flops(record(density=0.1)).data
    assert list(bars.x) == [0.1, 0.1]


def test_output_serves_a_live_kernel_and_a_page() -> None:
    output = figures.bundle(figures.history(record()), "what one sees")
    assert set(output) == {"application/vnd.plotly.v1+json", "text/html"}
    assert "plotly-graph-div" in output["text/html"]
    assert 'aria-label="what one sees"' in output["text/html"]
    assert "http" not in output["text/html"]
    assert len(json.dumps(output)) < 50_000  # plotly.js itself would be 5 MB


@pytest.fixture
def frame(tmp_path):
    for seed, accuracy in enumerate((80.0, 82.0, None)):
        records.save(record(accuracy, method="static", density=0.05, seed=seed), tmp_path)
    records.save(record(85.0, method="rigl", density=0.05), tmp_path)
    records.save(record(90.0, method="dense"), tmp_path)
    return records.frame(tmp_path)


@pytest.mark.parametrize("against", figures.AXES)
def test_accuracy_shows_every_finished_run_by_name(frame, against: str) -> None:
    traces = figures.accuracy(frame, against).data
    dots = {t.name: t for t in traces if t.mode == "markers"}
    lines = {t.name: t for t in traces if t.mode == "lines"}
    assert set(dots) == set(lines) == {"Static (ERK)", "RigL (ERK)", "Dense"}
    assert list(dots["Static (ERK)"].y) == [80.0, 82.0]
    assert list(lines["Static (ERK)"].y) == [81.0]
    assert list(lines["Static (ERK)"].x) == [0.05]
    named = {name for t in dots.values() for name, _ in t.customdata}
    assert named == set(frame[frame["status"] == "finished"]["name"])


def test_methods_differ_in_colour_and_in_marker() -> None:
    assert set(figures.METHODS) == set(METHODS)
    markers = [marker for _, marker in figures.METHODS.values()]
    assert len(set(markers)) == len(markers)
    colours = [
        figures.METHODS[name][0] for name in ("static", "set", "rigl", "snfs", "rigl-sm", "small-dense")
    ]
    assert len(set(colours)) == len(colours)


def test_cost_over_time_is_the_records() -> None:
    run = record(method="snfs").model_copy(
        update={"density_steps": [0, 10, 20], "forward_ratio": [0.1, 0.3, 0.2]}
    )
    (line,) = figures.cost_over_time(run).data
    assert (list(line.x), list(line.y)) == ([0, 10, 20], [0.1, 0.3, 0.2])
    (old,) = figures.cost_over_time(record()).data
    assert list(old.y) == [0.1, 0.1], "records from before it was kept: their density never changed"


def test_accuracy_of_nothing_is_an_empty_figure(tmp_path) -> None:
    assert not figures.accuracy(records.frame(tmp_path)).data
