"""The calculator against the FLOP rules, against networks that are really built, and against runs."""

import json
import re

import pytest

from book.report import cost_calculator, runs
from report.sample import CONV, LENET, record
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops, training_flops
from rigl.training import records
from rigl.training.config import DISTRIBUTIONS
from rigl.training.project import model_layers

CIFAR = "wrn-22-2 on cifar10"
MODELS = {**model_layers(), "lenet-300-100 on fashion-mnist": LENET}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for seed, ratio in enumerate((0.3, 0.34)):
        for method in ("pruning", "lottery", "rigl-sg"):
            made = record(88.0, method=method, seed=seed, model="wrn-10-1")
            extra = 0.1 if method == "lottery" else 0.0
            cost = made.flops.model_copy(update={"train_ratio": ratio + extra, "test_ratio": 0.2})
            records.save(made.model_copy(update={"flops": cost}), folder)
    return cost_calculator.table(MODELS, runs.load(folder))


@pytest.mark.parametrize("method", cost_calculator.FIXED)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(("density", "delta_t", "multiplier"), [(0.1, 100, 1), (0.02, 50, 2), (0.5, 1000, 3)])
def test_fixed_layers_cost_what_the_rules_say(
    found, method, distribution, density, delta_t, multiplier
) -> None:
    layers = MODELS[CIFAR]
    dense = forward_flops(layers)
    sparse = forward_flops(layers, layer_densities(layers, density, distribution))
    expected = training_flops(method, dense, sparse, delta_t=delta_t, multiplier=multiplier)
    cost = cost_calculator.cost(found, CIFAR, method, distribution, density, delta_t, multiplier)
    assert cost["training"] == pytest.approx(expected / (3 * dense))
    assert cost["inference"] == pytest.approx(sparse / dense)


def test_what_the_rules_give_is_what_runs_cost() -> None:
    """Of every usual run in the project whose cost follows from the rules."""
    frame = runs.usual(runs.load())
    models = model_layers()
    every = cost_calculator.table(models, frame)
    checked = set()
    for made in frame[frame["method"].isin(cost_calculator.FIXED)]["record"]:
        config = made.config
        name = f"{config.model} on {config.dataset}"
        if name in models and config.density in cost_calculator.GRID:
            cost = cost_calculator.cost(
                every,
                name,
                config.method,
                config.distribution,
                config.density,
                config.delta_t,
                config.multiplier,
            )
            assert cost["training"] == pytest.approx(made.flops.train_ratio, rel=0.02), made.name
            checked.add(config.method)
    assert checked >= {"static", "set", "rigl", "rigl-global", "mest"}


def test_dense_costs_itself_whatever_the_other_controls_say(found) -> None:
    for model, layers in MODELS.items():
        cost = cost_calculator.cost(found, model, "dense", "uniform", 0.02, 50)
        assert cost["dense"] == forward_flops(layers)
        assert (cost["training"], cost["inference"]) == (pytest.approx(1), 1)


def test_the_reports_figures_stand_beside(found) -> None:
    cost = cost_calculator.cost
    assert cost(found, CIFAR, "rigl", "erk", 0.1)["printed"] == ("0.17", "0.17", "Table 2")
    assert cost(found, CIFAR, "rigl", "erk", 0.2, 100, 2)["printed"] == (
        "0.70",
        "0.35",
        "Table 2",
    )
    assert cost(found, CIFAR, "rigl", "erk", 0.1, 150)["printed"] == cost_calculator.NOTHING
    assert cost(found, CIFAR, "set", "erk", 0.1, 150)["printed"] != cost_calculator.NOTHING
    assert cost(found, CIFAR, "rigl", "er", 0.1)["printed"] == cost_calculator.NOTHING


def test_what_depends_on_the_run_comes_from_runs_or_is_not_run(found) -> None:
    model = "wrn-10-1 on fashion-mnist"
    for method, ratio in (("pruning", 0.32), ("lottery", 0.42), ("rigl-sg", 0.32)):
        cost = cost_calculator.cost(found, model, method, "erk", 0.1)
        assert cost["training"] == pytest.approx(ratio)
        assert cost["inference"] == pytest.approx(0.2)
        assert "2 runs, protocol laptop" in cost["origin"]
        longer = cost_calculator.cost(found, model, method, "erk", 0.1, multiplier=2)
        assert longer["training"] == pytest.approx(2 * ratio)
        assert cost_calculator.cost(found, CIFAR, method, "erk", 0.1)["training"] is None
    # RigL-SG's mean forward cost, as its rule at Delta-T 100 implies it, at another Delta-T.
    mean = (101 * 3 * 0.32 - 1) / 302
    fewer = cost_calculator.cost(found, model, "rigl-sg", "erk", 0.1, 500)["training"]
    assert fewer == pytest.approx(training_flops("rigl-sg", 1, mean, delta_t=500) / 3)


def test_without_convolutions_weights_cost_the_same_wherever_they_lie(found) -> None:
    cost = cost_calculator.cost(found, "lenet-300-100 on fashion-mnist", "snfs", "erk", 0.1)
    assert cost["inference"] == pytest.approx(0.1)
    assert cost["training"] == pytest.approx((2 * 0.1 + 1) / 3)


def test_the_page_holds_the_table_and_opens_filled_in(found) -> None:
    page = cost_calculator.html(found)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["models"] == json.loads(json.dumps(found["models"]))
    assert len(page) < 300_000
    cost = cost_calculator.cost(found, CIFAR, "rigl", "erk", 0.1)
    assert all(text in page for row in cost_calculator.rows(cost) for text in row)
    assert page.count("<label>") == 6


def test_names_are_escaped(tmp_path) -> None:
    evil = "</script><script>alert(1)</script>\"'&"
    page = cost_calculator.html(cost_calculator.table({evil: CONV}, runs.load(tmp_path)))
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
