"""Every plot says what its records say, its output serves both readers, and sentences follow the numbers."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from book.report import figures, runs
from book.report.tables import Setup
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


FRONT = [
    "protocol",
    "dataset",
    "model",
    "method",
    "distribution",
    "density",
    "multiplier",
    "preset",
    "status",
    "variant",
]


@pytest.fixture
def setup(project):
    def make(*made: records.Record) -> Setup:
        for each in made:
            records.save(each, project / "results")
        return Setup("laptop", "fashion-mnist", "lenet-300-100", None, runs.load())

    return make


def series(drawn: figures.Drawn) -> dict[str, list[float]]:
    return {trace.name: list(trace.y) for trace in drawn[0].data if trace.hoverinfo != "skip"}


def test_masks_and_lengths_have_panels_of_their_own(setup) -> None:
    found = setup(
        record(80.0, method="rigl", distribution="uniform"),
        record(82.0, method="static", distribution="uniform"),
        record(85.0, method="rigl", distribution="erk"),
        record(86.0, method="rigl", distribution="erk", multiplier=2),
        record(50.0, method="rigl", distribution="erk", alpha=0.5),
    )
    uniform, erk, longer = figures.by_density(found)
    assert series(uniform) == {"RigL (uniform)": [80.0], "Static (uniform)": [82.0]}
    assert series(erk) == {"RigL (ERK)": [85.0]}
    assert series(longer) == {"RigL (ERK), 2x": [86.0]}
    assert "at density 0.1 best Static (uniform) 82.00 %, worst RigL (uniform) 80.00 %" in uniform[1]


def test_what_collapsed_is_named_and_does_not_flatten_the_rest(setup) -> None:
    found = setup(
        record(80.0, method="rigl", distribution="uniform"),
        record(40.0, method="static", distribution="uniform"),
    )
    ((fig, text),) = figures.by_density(found)
    assert fig.layout.yaxis.range == (80 - figures.REACH, 80 + figures.REACH / 20)
    assert text.endswith("Below the plot's lower edge, 74.0 %: Static (uniform) at 0.1.")


def test_a_dense_network_far_above_hides_nothing_and_is_not_drawn_alone(setup) -> None:
    assert "no runs to draw" in figures.by_density(setup(record(90.0, method="dense")))[0]
    ((fig, text),) = figures.by_density(setup(record(70.0, method="rigl", distribution="uniform")))
    assert [trace.name for trace in fig.data if trace.showlegend is None] == ["Dense", "RigL (uniform)"]
    assert fig.layout.yaxis.range is None
    assert "lower edge" not in text


def test_nothing_to_draw_is_said(setup) -> None:
    for draw in (figures.by_density, figures.at_equal_flops, figures.redistribution, figures.learning_rates):
        (told,) = draw(setup())
        assert told.startswith("<p><em>LeNet-300-100 on Fashion-MNIST")


COSTS = st.lists(
    st.tuples(st.floats(0.01, 1), st.floats(50, 99), st.sampled_from("abcde")),
    min_size=1,
    unique_by=lambda x: x[2],
)


@settings(max_examples=40)
@given(COSTS)
def test_pareto_front(points) -> None:
    plain = dict.fromkeys([*FRONT, "name"], "x") | {
        "density": 0.1,
        "multiplier": 1,
        "test_flops": 0.1,
        "seed": 0,
        "validation_accuracy": 1.0,
    }
    plain |= {"record": None}
    frame = pd.DataFrame(
        [{**plain, "method": name, "train_flops": cost, "test_accuracy": y} for cost, y, name in points]
    )
    front = {(row["train_flops"], row["mean"]) for _, row in figures.pareto(frame).iterrows()}
    beaten = {(x, y) for x, y, _ in points for a, b, _ in points if a <= x and b >= y and (a, b) != (x, y)}
    assert front == {(x, y) for x, y, _ in points} - beaten


def test_redistribution_draws_the_ends(setup) -> None:
    moved = record(80.0, method="rigl-sg", distribution="uniform", density=0.05)
    ends = [0.02, 0.3, 0.9]
    for layer, end in zip(moved.layers, ends, strict=True):
        layer.density[1] = end
    kept = record(81.0, method="rigl", distribution="uniform", density=0.05)
    (last,) = figures.redistribution(setup(moved, kept))
    assert series(last)["RigL-SG (uniform)"] == ends
    assert series(last)["RigL (uniform)"] == pytest.approx([0.05] * 3, rel=0.01)
    assert "RigL-SG (uniform) from epoch 20 of 20 on" in last[1]


def test_settling_is_dated_by_the_last_step_out_of_bounds() -> None:
    run = record(method="snfs", distribution="uniform", density=0.05)
    run.density_steps = [0, 430, 860, 8600]
    for layer in run.layers:
        layer.density = [0.05, 0.2, 0.099, 0.1]
    assert "SNFS (uniform) from epoch 2 of 20 on" in figures.settled([run])
    assert figures.settled([run], within=1.5).count("epoch 0") == 1


def test_learning_rates_are_mapped(setup) -> None:
    runs = [
        record(
            rate * 100, method="rigl", distribution="erk", density=0.1, learning_rate=rate, alpha=a, delta_t=t
        )
        for rate in (0.1, 0.05)
        for a, t in ((0.3, 100), (0.4, 200))
        if (rate, a) != (0.05, 0.4)
    ]
    (drawn,) = figures.learning_rates(setup(*runs))
    heat = drawn[0].data[0]
    assert heat.z[list(heat.y).index("0.1")][list(heat.x).index("0.4, 200")] == 10.0
    assert np.isnan(np.array(heat.z, dtype=float)).sum() == 13
    assert "3 of 16 settings run. Best: learning rate 0.1" in drawn[1]


def test_numbers_can_be_saved() -> None:
    import io

    run = record()
    drawn = pd.read_csv(io.StringIO(figures.csv(figures.history(run))))
    assert sorted(drawn["series"].unique()) == ["train loss", "validation accuracy", "validation loss"]
    assert drawn[drawn["series"] == "train loss"]["y"].tolist() == [1.0, 0.5, 0.4]
    caption = figures.caption(figures.history(run), '<i>"')
    assert "&lt;i&gt;&#34;" in caption
    assert 'href="data:text/csv' in caption
