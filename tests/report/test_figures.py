"""Every plot says what its records say, its output serves both readers, and sentences follow the numbers."""

import json

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
    fig, told = figures.history(run)
    assert told == (
        "Training loss goes from 1.00 to 0.40 nats in 3 epochs. "
        "Validation accuracy is highest, 88.00 %, after epoch 3."
    )
    drawn = {trace.name: list(trace.y) for trace in fig.data}
    assert drawn == {
        name.replace("_", " "): series for name, series in run.history.items() if name != "learning_rate"
    }


def test_densities_before_and_after() -> None:
    run = record(density=0.05)
    (still,) = figures.densities(run)[0].data
    assert list(still.y) == list(layer_densities(LENET, 0.05, "erk").values())
    assert "No layer's density changes" in figures.densities(run)[1]
    run.layers[1].density[-1] = 0.5
    fig, told = figures.densities(run)
    before, after = fig.data
    assert list(before.y) == list(still.y)
    assert after.y[1] == 0.5
    assert "1 of 3 layers change their density, fc2.weight most: from" in told
    assert before.name == "before (step 0)"
    assert after.name == "after (step 8,600)"
    assert [name for name, _ in before.customdata] == [layer.name for layer in LENET]


def test_flops_are_shares_of_dense() -> None:
    fig, told = figures.flops(record(density=0.1))
    assert list(fig.data[0].x) == [0.1, 0.1]
    assert "Inference costs 0.100 and training 0.100" in told


def test_output_serves_a_live_kernel_and_a_page() -> None:
    output = figures.bundle(figures.history(record())[0], "what one sees")
    assert set(output) == {"application/vnd.plotly.v1+json", "text/html"}
    assert "plotly-graph-div" in output["text/html"]
    assert 'aria-label="what one sees"' in output["text/html"]
    assert "http" not in output["text/html"]
    assert len(json.dumps(output)) < 50_000  # plotly.js itself would be 5 MB


def test_methods_differ_in_colour_and_in_marker() -> None:
    assert set(figures.METHODS) <= set(METHODS)
    markers = [marker for _, marker in (*figures.METHODS.values(), figures.OTHER)]
    assert len(set(markers)) == len(markers)
    colours = [
        figures.METHODS[name][0] for name in ("static", "set", "rigl", "snfs", "rigl-sm", "small-dense")
    ]
    assert len(set(colours)) == len(colours)


def test_cost_over_time_is_the_records() -> None:
    run = record(method="snfs").model_copy(
        update={"density_steps": [0, 10, 20], "forward_ratio": [0.1, 0.3, 0.2]}
    )
    fig, told = figures.cost_over_time(run)
    assert (list(fig.data[0].x), list(fig.data[0].y)) == ([0, 10, 20], [0.1, 0.3, 0.2])
    assert "0.100 of the dense network's at the start, 0.200 at the end and 0.300 at most" in told
    assert figures.cost_over_time(record()) is None, "a line that is flat by definition"


@pytest.fixture
def setup(project):
    def make(*made: records.Record) -> Setup:
        for each in made:
            records.save(each, project / "results")
        return Setup("laptop", "fashion-mnist", "lenet-300-100", None, runs.load())

    return make


def series(drawn: figures.Drawn) -> dict[str, list[float]]:
    return {trace.name: list(trace.y) for trace in drawn[0].data if trace.hoverinfo != "skip"}


def rated(
    pairs: tuple[tuple[float, int], ...], rates: tuple[float, ...], **knobs: object
) -> list[records.Record]:
    """RigL at each rate and pair of alpha and Delta-T; a larger rate is better, and so is a larger alpha."""
    given = {"method": "rigl", "distribution": "erk", "density": 0.1, **knobs}
    return [
        record(100 * rate + alpha, learning_rate=rate, alpha=alpha, delta_t=delta_t, **given)
        for rate in rates
        for alpha, delta_t in pairs
    ]


GRID = ((0.3, 100), (0.4, 200), (0.4, 500), (0.5, 750))
RATES = (0.1, 0.05, 0.01, 0.005)


def test_learning_rates_are_lines_until_their_grid_is_full(setup) -> None:
    runs = rated(GRID[:1], RATES[:3]) + rated(GRID[:2], RATES[:2], distribution="uniform")
    (drawn,) = figures.learning_rates(setup(*runs))
    lines = {trace.name: (list(trace.x), list(trace.y)) for trace in drawn[0].data}
    assert lines["ERK, 0.1"] == ([0.01, 0.05, 0.1], pytest.approx([1.3, 5.3, 10.3]))
    assert lines["uniform, 0.1, 0.4, 200"] == ([0.05, 0.1], pytest.approx([5.4, 10.4]))
    assert len(lines) == 3
    assert list(drawn[0].layout.xaxis.tickvals) == [0.01, 0.05, 0.1]
    assert "0.1 is best for uniform at 0.1, ERK at 0.1. 0.1 is the largest that was tried." in drawn[1]


def test_a_full_grid_of_learning_rates_is_a_map(setup) -> None:
    (drawn,) = figures.learning_rates(setup(*rated(GRID, RATES)))
    heat = drawn[0].data[0]
    assert heat.z[list(heat.y).index("0.1")][list(heat.x).index("0.4, 200")] == pytest.approx(10.4)
    assert "best at a learning rate of 0.1, alpha 0.5, Delta-T 750, 10.50 %" in drawn[1]


def test_one_learning_rate_is_no_plot(setup) -> None:
    assert figures.learning_rates(setup(*rated(GRID, RATES[:1]))) == []


def test_numbers_can_be_saved() -> None:
    import io

    run = record()
    drawn = pd.read_csv(io.StringIO(figures.csv(figures.history(run)[0])))
    assert sorted(drawn["series"].unique()) == ["train loss", "validation accuracy", "validation loss"]
    assert drawn[drawn["series"] == "train loss"]["y"].tolist() == [1.0, 0.5, 0.4]
    page = figures.html(figures.history(run)[0], '<i>"')
    assert page.startswith('<p class="see">&lt;i&gt;&#34;</p>'), "a plot stands under what to see in it"
    assert 'href="data:text/csv' in page
