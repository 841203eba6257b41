"""The explorer's data, its page and its widgets, against the functions they come from."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.report import density_explorer, names, runs
from book.report.density_explorer import GRID
from report.sample import CONV, LENET, record
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import Layer
from rigl.training import records
from rigl.training.config import DISTRIBUTIONS

MODELS = {"conv": CONV, "lenet": LENET}
TABLE = density_explorer.density_table(MODELS)
ENDS = {
    "lenet": {"run": {"densities": [0.1, 0.2, 0.3], "text": "RigL-SM, after training", "told": "It ended."}}
}


def test_grid_holds_the_densities_people_ask_for() -> None:
    assert list(GRID) == sorted(set(GRID))
    assert {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0} <= set(GRID)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_table_is_what_the_package_computes(model: str, kind: str) -> None:
    layers, points = MODELS[model], TABLE[model]["points"][kind]["density"]
    assert [point["value"] for point in points] == list(GRID)
    for point in points:
        shares = layer_densities(layers, point["value"], kind)
        assert point["densities"] == list(shares.values())
        assert point["flops"] == forward_flops(layers, shares) / forward_flops(layers)
        assert f"{point['active']:,} of {TABLE[model]['weights']:,}" in point["text"]


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_a_budget_of_flops_is_kept_or_refused(kind: str) -> None:
    points = TABLE["conv"]["points"][kind]["flops"]
    assert [point["value"] for point in points] == list(GRID)
    met = [point for point in points if point["densities"]]
    for point in met:
        assert point["flops"] == pytest.approx(point["value"], rel=1e-6)
        shares = dict(zip((layer.name for layer in CONV), point["densities"], strict=True))
        assert point["flops"] == forward_flops(CONV, shares) / forward_flops(CONV)
    assert len(met) == len(points) if kind != "uniform" else 0 < len(met) < len(points)
    for point in points[: len(points) - len(met)]:
        assert "too low" in point["text"]


@given(
    density=st.floats(0.005, 1),
    kind=st.sampled_from(DISTRIBUTIONS),
    widths=st.lists(st.integers(1, 64), min_size=2, max_size=6),
)
def test_points_are_shares(density: float, kind: str, widths: list[int]) -> None:
    layers = [Layer(f"l{i}", "linear", (b, a), 1) for i, (a, b) in enumerate(pairwise(widths))]
    model = density_explorer.density_table({"m": layers}, [kind], [density])["m"]
    (point,) = model["points"][kind]["density"]
    assert all(0 < share <= 1 + 1e-9 for share in point["densities"])
    assert 0 < point["flops"] <= 1 + 1e-9
    assert abs(point["active"] - density * model["weights"]) <= len(layers) + 1e-6


def test_full_density_is_the_dense_network() -> None:
    for model in TABLE.values():
        for budgets in model["points"].values():
            for points in budgets.values():
                assert points[-1]["active"] == model["weights"]
                assert points[-1]["flops"] == pytest.approx(1)


def test_page_holds_the_table_and_opens_drawn() -> None:
    page = density_explorer.html(TABLE, ENDS)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["models"] == json.loads(json.dumps(TABLE))
    assert data["figure"]["data"][0]["y"]
    assert data["ends"] == ENDS
    assert page.count("<label>") == 6
    assert 'aria-live="polite"' in page
    assert TABLE["conv"]["points"]["erk"]["density"][GRID.index(0.1)]["text"] in page


def test_names_are_escaped() -> None:
    evil = "</script><script>alert(1)</script>\"'&"
    page = density_explorer.html(
        density_explorer.density_table({evil: [Layer(evil, "linear", (2, 3), 1)]}),
        {evil: {evil: {"densities": [0.5], "text": evil, "told": evil}}},
    )
    assert "<script>alert" not in page
    assert page.count("</script>") == 2


def test_widgets_say_what_the_page_says() -> None:
    pytest.importorskip("ipywidgets")
    box = density_explorer.widget(TABLE, ENDS)
    model, distribution, budget, value, _, log = box.children[0].children
    summary, plot, numbers = box.children[1:]
    assert summary.value == TABLE["conv"]["points"]["erk"]["density"][GRID.index(0.1)]["text"]
    model.value, distribution.value, budget.value, value.value = "lenet", "uniform", "flops", 0.2
    point = TABLE["lenet"]["points"]["uniform"]["flops"][GRID.index(0.2)]
    assert summary.value == point["text"]
    (output,) = plot.outputs
    assert output["data"]["application/vnd.plotly.v1+json"]["data"][0]["y"] == point["densities"]
    assert f"<td>{point['densities'][-1]:.4g}</td>" in numbers.value
    log.value = True
    (output,) = plot.outputs
    assert output["data"]["application/vnd.plotly.v1+json"]["layout"]["yaxis"]["type"] == "log"


def test_widgets_lay_two_over_each_other() -> None:
    pytest.importorskip("ipywidgets")
    box = density_explorer.widget(TABLE, ENDS)
    model, *_, beside, _ = box.children[0].children
    assert [value for _, value in beside.options] == ["", *DISTRIBUTIONS]
    model.value = "lenet"
    assert [value for _, value in beside.options] == ["", *DISTRIBUTIONS, "run"]
    for chosen, ends in (("run", [0.1, 0.2, 0.3]), ("uniform", [0.1] * 3)):
        beside.value = chosen
        (output,) = box.children[2].outputs
        first, second = output["data"]["application/vnd.plotly.v1+json"]["data"]
        assert second["y"] == pytest.approx(ends)
        assert first["y"] != second["y"]
        assert f"<th>Density, {second['name']}</th>" in box.children[3].value
    model.value = "conv"
    assert beside.value == "" or beside.value in DISTRIBUTIONS


def test_ends_are_the_records_of_methods_that_move(project) -> None:
    moved = record(method="rigl-sg", distribution="uniform", density=0.05, seed=1)
    for layer, end in zip(moved.layers, (0.02, 0.3, 0.9), strict=True):
        layer.density[-1] = end
    for run in (moved, record(method="rigl-sg", distribution="uniform", density=0.05, seed=2), record()):
        records.save(run, project / "results")
    (found,) = density_explorer.ended(runs.load())["lenet-300-100 on fashion-mnist"].items()
    assert found[0] == moved.name
    assert found[1]["densities"] == [0.02, 0.3, 0.9]
    assert "seed 1" in found[1]["told"]


def test_flops_table() -> None:
    table = density_explorer.flops_table(TABLE, [0.1, 1.0])
    assert list(table.columns) == ["Model", "Density", *map(names.masks, DISTRIBUTIONS)]
    assert table[table["Density"] == "1"]["ERK"].tolist() == ["1.000", "1.000"]
