"""The answers to the exercises on the page about the method, by the package's own functions."""

import pytest

from book.report import drop_schedule, update_example
from book.report.density_explorer import GRID
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import network_density
from rigl.training.project import model_layers

LAYERS = model_layers()["wrn-22-2 on cifar10"]


def test_the_head_is_full_first_then_the_stem_and_a_shortcut() -> None:
    full = {
        density: {name for name, share in layer_densities(LAYERS, density, "erk").items() if share == 1}
        for density in GRID
        if density >= 0.02
    }
    assert full[0.02] == set()
    assert full[0.03] == {"fc.weight"}
    assert full[0.05] == {"fc.weight", "stem.weight", "blocks.0.shortcut.weight"}


def test_erk_costs_more_at_equal_weights_and_keeps_fewer_at_equal_flops() -> None:
    dense = forward_flops(LAYERS)
    costs = [forward_flops(LAYERS, layer_densities(LAYERS, 0.1, name)) / dense for name in ("erk", "uniform")]
    assert costs == pytest.approx([0.17, 0.10], abs=0.005)
    kept = [
        network_density(LAYERS, layer_densities(LAYERS, None, name, flops=0.1)) for name in ("erk", "uniform")
    ]
    assert kept == pytest.approx([0.057, 0.098], abs=0.0005)


def test_one_dropped_weight_comes_back_under_rigl_and_none_under_set() -> None:
    table = update_example.stage_table(update_example.example())
    stages = {method: table[method]["0.3"] for method in ("rigl", "set")}
    dropped = {i for i, kind in enumerate(stages["rigl"][1]["kinds"]) if kind == "dropped"}
    grown = {m: {i for i, kind in enumerate(s[2]["kinds"]) if kind == "grown"} for m, s in stages.items()}
    assert (len(dropped), grown["rigl"] & dropped, grown["set"] & dropped) == (4, {5}, set())


def test_the_fraction_is_half_of_alpha_at_half_of_the_end() -> None:
    curves = drop_schedule.curves()
    end = drop_schedule.ENDS.index(0.75)
    for at, alpha in enumerate(drop_schedule.ALPHAS):
        values = curves[at][end]["values"]
        assert values[round(0.375 * (len(values) - 1))] == pytest.approx(alpha / 2, rel=0.03)
