"""Densities: the network's total comes out right, whatever the layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigl.distributions import active_counts, layer_densities
from rigl.shapes import Layer, load_layers, save_layers

dims = st.integers(1, 40)
conv = st.builds(lambda o, i, k: ("conv", (o, i, k, k)), dims, dims, st.integers(1, 5))
linear = st.builds(lambda o, i: ("linear", (o, i)), dims, dims)
networks = st.lists(conv | linear, min_size=1, max_size=12).map(
    lambda rows: [Layer(f"l{n}.weight", kind, shape) for n, (kind, shape) in enumerate(rows)]
)
densities = st.floats(0.001, 1.0)


def total(layers):
    return sum(layer.numel for layer in layers)


@given(networks, densities, st.sampled_from(["er", "erk"]))
def test_er_and_erk_hit_the_target(layers, density, distribution):
    found = layer_densities(layers, density, distribution)
    assert list(found) == [layer.name for layer in layers]
    assert all(0 < value <= 1 for value in found.values())
    weighted = sum(found[layer.name] * layer.numel for layer in layers)
    assert weighted == pytest.approx(density * total(layers), rel=1e-9)
    counts = active_counts(layers, found)
    assert abs(sum(counts.values()) - density * total(layers)) <= len(layers)


@given(networks, densities)
def test_uniform_is_uniform_but_for_the_first_convolution(layers, density):
    found = layer_densities(layers, density, "uniform")
    convolutions = [layer.name for layer in layers if layer.kind == "conv"]
    for layer in layers:
        exempt = convolutions[:1] == [layer.name]
        assert found[layer.name] == (1.0 if exempt else density)


@given(networks, densities, st.sampled_from(["er", "erk"]))
def test_layers_not_capped_keep_the_proportions(layers, density, distribution):
    """d_l / raw_l is the same for all layers below 1; no capped layer has a smaller raw_l."""
    found = layer_densities(layers, density, distribution)

    def raw(layer):
        shape = layer.shape if distribution == "erk" else layer.shape[:2]
        product = 1
        for size in shape:
            product *= size
        return sum(shape) / product

    free = [layer for layer in layers if found[layer.name] < 1]
    for layer in free:
        assert found[layer.name] / raw(layer) == pytest.approx(found[free[0].name] / raw(free[0]))
    for full in layers:
        if found[full.name] == 1 and free:
            assert raw(full) >= max(raw(layer) for layer in free) * (1 - 1e-12)


def test_tied_layers_become_dense_together():
    layers = [Layer(f"small{n}", "linear", (2, 2)) for n in range(3)]
    layers += [Layer("large", "linear", (100, 100))]
    found = layer_densities(layers, 0.05, "erk")
    assert [found[f"small{n}"] for n in range(3)] == [1.0] * 3
    # clipping at 1 without giving the rest to the others would miss the target
    assert sum(found[layer.name] * layer.numel for layer in layers) == pytest.approx(0.05 * total(layers))


@pytest.mark.parametrize("distribution", ["uniform", "er", "erk"])
def test_density_one_and_lone_layers(distribution):
    layers = [Layer("a", "conv", (4, 3, 3, 3)), Layer("b", "linear", (10, 4))]
    assert set(layer_densities(layers, 1.0, distribution).values()) == {1.0}
    lone = [Layer("a", "linear", (10, 20))]
    assert layer_densities(lone, 0.3, distribution)["a"] == pytest.approx(0.3)
    one = [Layer("a", "linear", (1, 1))]
    assert active_counts(one, layer_densities(one, 0.7, distribution)) == {"a": 1}
    assert active_counts(one, layer_densities(one, 0.3, distribution)) == {"a": 0}


def test_the_original_codes_first_convolution_is_no_part_of_the_target():
    layers = [
        Layer("a", "conv", (8, 3, 3, 3)),
        Layer("b", "linear", (50, 60)),
        Layer("c", "linear", (10, 50)),
    ]
    found = layer_densities(layers, 0.2, "erk", mask_first_conv=False)
    assert found["a"] == 1
    assert sum(found[layer.name] * layer.numel for layer in layers[1:]) == pytest.approx(0.2 * 3500)


def test_a_map_of_ones_own():
    layers = [Layer("a", "linear", (4, 4)), Layer("b", "linear", (4, 4))]
    assert layer_densities(layers, 1.0, {"b": 0.0, "a": 0.5}) == {"a": 0.5, "b": 0.0}
    with pytest.raises(ValueError, match="differ in: b, c"):
        layer_densities(layers, 1.0, {"a": 0.5, "c": 0.5})
    with pytest.raises(ValueError, match=r"density=1\.5 of a"):
        layer_densities(layers, 1.0, {"a": 1.5, "b": 0.5})


@pytest.mark.parametrize("density", [0, -0.1, 1.01, float("nan")])
def test_densities_that_cannot_be(density):
    with pytest.raises(ValueError, match="density="):
        layer_densities([Layer("a", "linear", (4, 4))], density, "erk")


def test_unknown_distribution_and_no_layers():
    with pytest.raises(ValueError, match="distribution='flat' is unknown: choose one of uniform, er, erk"):
        layer_densities([Layer("a", "linear", (4, 4))], 0.1, "flat")
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        layer_densities([], 0.1)


@given(networks)
def test_layers_survive_json(tmp_path_factory, layers):
    path = tmp_path_factory.mktemp("layers") / "layers.json"
    save_layers({"net": layers, "other": layers[:1]}, path)
    assert load_layers(path) == {"net": layers, "other": layers[:1]}
