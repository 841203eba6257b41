"""FLOPs of the report's networks, and the ratios its tables print."""

import json
from pathlib import Path

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops, step_flops, training_flops
from rigl.sparsity.layers import describe
from rigl.sparsity.shapes import Layer
from rigl.training.models import build

MACS = {"wrn-22-2": 157_730_048, "resnet-50": 1_298_014_208}


@pytest.fixture(scope="module")
def networks():
    with torch.device("meta"):
        return {
            name: describe(build(name, classes), (3, 32, 32))
            for name, classes in (("wrn-22-2", 10), ("resnet-50", 100))
        }


@pytest.mark.parametrize("name", MACS)
def test_dense_forward(networks, name):
    assert forward_flops(networks[name]) == 2 * MACS[name]


@pytest.mark.parametrize(
    ("name", "distribution", "density", "printed"),
    [
        ("wrn-22-2", "erk", 0.1, 0.17),
        ("wrn-22-2", "erk", 0.2, 0.35),
        ("resnet-50", "erk", 0.1, 0.22),
        ("resnet-50", "erk", 0.2, 0.38),
        ("wrn-22-2", "uniform", 0.1, 0.10),
        ("wrn-22-2", "uniform", 0.2, 0.20),
        ("resnet-50", "uniform", 0.1, 0.10),
        ("resnet-50", "uniform", 0.2, 0.20),
    ],
)
def test_the_tables_ratios(networks, name, distribution, density, printed):
    """The report prints two digits, now and then cut off rather than rounded (0.225 as 0.22)."""
    layers = networks[name]
    sparse = forward_flops(layers, layer_densities(layers, density, distribution))
    dense = forward_flops(layers)
    assert printed - 0.005 <= sparse / dense <= printed + 0.006
    assert training_flops("static", dense, sparse) == 3 * sparse
    trained = training_flops("rigl", dense, sparse) / (3 * dense)
    assert trained == pytest.approx(printed, abs=0.01)
    assert training_flops("rigl", dense, sparse, multiplier=2) / (3 * dense) == pytest.approx(2 * trained)


def test_small_dense_is_what_the_codes_widths_give(networks):
    with torch.device("meta"):
        small = describe(build("wrn-22-2", 10, 0.1**0.5), (3, 32, 32))
    assert forward_flops(small) / forward_flops(networks["wrn-22-2"]) == pytest.approx(0.098, abs=5e-4)


def test_closed_forms_by_hand():
    assert training_flops("dense", 10, 2) == 30
    assert training_flops("set", 10, 2) == training_flops("small-dense", 10, 2) == 6
    assert training_flops("rigl", 10, 2, delta_t=1) == (6 + 4 + 10) / 2
    with pytest.raises(ValueError, match="method='snip'"):
        training_flops("snip", 10, 2)


def test_a_layer_without_positions_is_refused():
    with pytest.raises(ValueError, match=r"no output positions known for fc\.weight"):
        forward_flops([Layer("fc.weight", "linear", (3, 4))])


def test_layers_json_is_not_stale(root: Path):
    from rigl.sparsity.shapes import load_layers
    from rigl.training.models.__main__ import PATH, shown_layers

    assert root / "results" / "layers.json" == PATH
    assert load_layers(PATH) == shown_layers(), "run 'python -m rigl.training.models'"
    assert json.loads(PATH.read_text())


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.integers(1, 99), st.floats(0, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_forward_is_the_references(rows):
    layers = [Layer(str(n), "conv", tuple(shape), places) for n, (shape, places, _) in enumerate(rows)]
    plain = [("conv", shape, places) for shape, places, _ in rows]
    densities = [density for *_, density in rows]
    found = forward_flops(layers, dict(zip(map(str, range(len(rows))), densities, strict=True)))
    assert found == pytest.approx(reference.forward_flops(plain, densities))
    assert forward_flops(layers) == reference.forward_flops(plain)


@pytest.mark.parametrize("method", [*reference.METHODS, *reference.FIXED])
@settings(max_examples=20)
@given(st.floats(1, 1e9), st.floats(0, 1), st.integers(1, 1000), st.floats(1, 5), st.floats(0, 1e9))
def test_training_is_the_references(method, dense, ratio, delta_t, multiplier, source):
    sparse = ratio * dense
    found = training_flops(
        method,
        dense,
        sparse,
        delta_t=delta_t,
        multiplier=multiplier,
        source=source if method == "lottery" else 0,
    )
    expected = reference.training_flops(method, dense, sparse, delta_t, multiplier, source)
    assert found == pytest.approx(expected)


def test_steps_by_hand():
    """Forward 2, to the activations 2, to the weights 2; or 10 for all weights' gradient."""
    assert step_flops(2, 10, False) == reference.step_flops(2, 10, False) == 6
    assert step_flops(2, 10, True) == reference.step_flops(2, 10, True) == 14
    assert step_flops(10, 10, True) == step_flops(10, 10, False) == 30
    # RigL's closed form is one step of all gradients to delta_t without
    steps = 4 * [step_flops(2, 10, False)] + [step_flops(2, 10, True)]
    assert training_flops("rigl", 10, 2, delta_t=4) == sum(steps) / 5


def test_new_methods_by_hand():
    assert training_flops("snfs", 10, 2) == 14
    assert training_flops("pruning", 10, 4) == 12
    assert training_flops("mest", 10, 4) == 12, "it needs the gradients that SET needs"
    assert training_flops("lottery", 10, 2, source=12) == 18
    variants = ("rigl-sg", "rigl-sm", "rigl-reinit", "rigl-struct", "rigl-global", "granet")
    assert {training_flops(name, 10, 2, delta_t=4) for name in variants} == {7.6}
