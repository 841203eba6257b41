"""Every plot says what its records say, its output serves both readers, and sentences follow the numbers."""

import json

import numpy as np
import pandas as pd
import pytest

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


@pytest.fixture
def setup(project):
    def make(*made: records.Record) -> Setup:
        for each in made:
            records.save(each, project / "results")
        return Setup("laptop", "fashion-mnist", "lenet-300-100", None, runs.load())

    return make


def series(drawn: figures.Drawn) -> dict[str, list[float]]:
    return {trace.name: list(trace.y) for trace in drawn[0].data if trace.hoverinfo != "skip"}


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
