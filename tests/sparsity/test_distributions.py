"""Densities: the network's total comes out right, whatever the layers."""

import math

import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rigl.sparsity.distributions import active_counts, layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import Layer, load_layers, save_layers

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


placed = st.builds(lambda row, side: (*row, side * side if row[0] == "conv" else 1), conv | linear, dims)
placed_networks = st.lists(placed, min_size=1, max_size=8).map(
    lambda rows: [Layer(f"l{n}.weight", kind, shape, places) for n, (kind, shape, places) in enumerate(rows)]
)
names = st.sampled_from(["uniform", "er", "erk", "erk-flops"])
budgets = st.floats(0.01, 1.0)


def plain(layers):
    return [(layer.kind, layer.shape, layer.positions) for layer in layers]


def agree(found, layers, *arguments, **options):
    expected = reference.densities(plain(layers), *arguments, **options)
    assert list(found.values()) == pytest.approx(expected, rel=1e-6)


def left_out(layers, distribution, mask_first_conv):
    """Index of the first convolution, where it is no part of the target."""
    first = next((i for i, layer in enumerate(layers) if layer.kind == "conv"), None)
    return first if distribution == "uniform" or not mask_first_conv else None


@settings(max_examples=60)
@given(placed_networks, densities, names, st.booleans())
def test_densities_are_the_references(layers, density, distribution, mask_first_conv):
    out = left_out(layers, distribution, mask_first_conv)
    found = layer_densities(layers, density, distribution, mask_first_conv=mask_first_conv)
    agree(found, layers, distribution, density=density, mask_first_conv=mask_first_conv)
    # What is published as ERK clips at 1 and leaves it at that, and so falls short of the target.
    counted = [layer for i, layer in enumerate(layers) if i != out]
    reached = sum(found[layer.name] * layer.numel for layer in counted)
    assert reached == pytest.approx(density * total(counted), rel=1e-9)
    assert found["l0.weight"] == 1 or out != 0


@settings(max_examples=60)
@given(placed_networks, budgets, names, st.booleans())
def test_a_flop_budget_is_kept(layers, budget, distribution, mask_first_conv):
    out = left_out(layers, distribution, mask_first_conv)
    fixed = [1.0 if i == out else 0.0 for i in range(len(layers))]
    spent = reference.forward_flops(plain(layers), fixed) / reference.forward_flops(plain(layers))
    assume(abs(budget - spent) > 1e-3)

    def find():
        return layer_densities(
            layers, distribution=distribution, flops=budget, mask_first_conv=mask_first_conv
        )

    if budget < spent:
        with pytest.raises(ValueError, match="is too low: the layers that stay dense cost"):
            find()
        return
    found = find()
    assert forward_flops(layers, found) == pytest.approx(budget * forward_flops(layers), rel=1e-6)
    agree(found, layers, distribution, flops=budget, mask_first_conv=mask_first_conv)


@settings(max_examples=60)
@given(placed_networks, st.data(), names, st.sampled_from(["density", "flops"]))
def test_layers_that_stay_dense_are_compensated_for(layers, data, distribution, unit):
    some = data.draw(st.sets(st.integers(0, len(layers) - 1), max_size=len(layers) - 1))
    out = left_out(layers, distribution, True)
    counted = [i for i in range(len(layers)) if i != out]
    assume(set(counted) - some)
    share = data.draw(budgets)
    dense = {layers[i].name for i in some}
    if unit == "density":
        spent = sum(layers[i].numel for i in counted if i in some) / sum(layers[i].numel for i in counted)
    else:
        fixed = [1.0 if i == out or i in some else 0.0 for i in range(len(layers))]
        spent = reference.forward_flops(plain(layers), fixed) / reference.forward_flops(plain(layers))
    assume(abs(share - spent) > 1e-3)

    def find():
        return layer_densities(layers, distribution=distribution, dense=dense, **{unit: share})

    if share < spent:
        with pytest.raises(ValueError, match="is too low: the layers that stay dense"):
            find()
        return
    found = find()
    assert all(found[name] == 1 for name in dense)
    agree(found, layers, distribution, dense=some, **{unit: share})


def test_erk_over_positions_by_hand():
    """Raw 16/48 and 14/48 become 16/48/100 and 14/48; of 96 weights 24 are active, so the second has most."""
    layers = [Layer("a", "conv", (6, 8, 1, 1), 100), Layer("b", "linear", (6, 8), 1)]
    found = layer_densities(layers, 0.25, "erk-flops")
    raw = 16 / 48 / 100, 14 / 48
    assert found["a"] / found["b"] == pytest.approx(raw[0] / raw[1])
    assert (found["a"] + found["b"]) * 48 == pytest.approx(24)
    with pytest.raises(ValueError, match="no output positions known for a"):
        layer_densities([Layer("a", "linear", (4, 4))], 0.1, "erk-flops")


def test_erk_over_positions_is_the_best_for_its_cost():
    """No other active weights k of the same FLOPs have a larger sum of s * log k."""
    layers = [
        Layer("a", "conv", (8, 3, 3, 3), 64),
        Layer("b", "conv", (16, 8, 3, 3), 16),
        Layer("c", "linear", (500, 160), 1),
    ]

    def worth(found):
        return sum(sum(layer.shape) * math.log(found[layer.name] * layer.numel) for layer in layers)

    best = layer_densities(layers, distribution="erk-flops", flops=0.1)
    assert max(best.values()) < 1
    for gives in layers:
        for takes in layers:
            if gives is not takes:
                other = dict(best)
                paid = 1e-3 * best[gives.name] * gives.numel * gives.positions
                other[gives.name] -= paid / (gives.numel * gives.positions)
                other[takes.name] += paid / (takes.numel * takes.positions)
                assert forward_flops(layers, other) == pytest.approx(forward_flops(layers, best))
                assert worth(other) < worth(best)


@pytest.mark.parametrize("budget", [0, -0.1, 1.01, float("nan")])
def test_budgets_that_cannot_be(budget):
    with pytest.raises(ValueError, match="flops="):
        layer_densities([Layer("a", "linear", (4, 4), 1)], distribution="erk", flops=budget)


@pytest.mark.parametrize("distribution", ["er", "erk", "erk-flops"])
@pytest.mark.parametrize("share", [{"density": 0.5}, {"flops": 0.5}])
def test_where_all_layers_stay_dense_nothing_less_can_be_had(distribution, share):
    layers = [Layer("a", "conv", (4, 4, 3, 3), 9), Layer("b", "linear", (4, 4), 1)]
    with pytest.raises(ValueError, match="stay dense"):
        layer_densities(layers, distribution=distribution, dense={"a", "b"}, **share)


def test_a_map_that_leaves_the_rest_to_a_distribution():
    layers = [
        Layer("a.0", "linear", (10, 10)),
        Layer("a.1", "linear", (10, 20)),
        Layer("head", "linear", (5, 10)),
    ]
    found = layer_densities(layers, 0.3, {"head": 0.8, "*": "uniform"})
    assert found["head"] == 0.8
    assert found["a.0"] == found["a.1"] == pytest.approx((0.3 * 350 - 40) / 300)
    erk = layer_densities(layers, 0.3, {"head": 0.8, "*": "erk"})
    assert sum(layer.numel * erk[layer.name] for layer in layers) == pytest.approx(0.3 * 350)
    assert layer_densities(layers, None, {"a.*": 0.1, "a.1": 0.2, "head": 1}) == {
        "a.0": 0.1,
        "a.1": 0.2,
        "head": 1,
    }
    with pytest.raises(
        ValueError, match=r"density=0.05 is too low: the layers whose density is given take 0.11"
    ):
        layer_densities(layers, 0.05, {"head": 0.8, "*": "erk"})
    with pytest.raises(
        ValueError, match=r"density=0.99 is too high beside the densities given: at most 0.97"
    ):
        layer_densities(layers, 0.99, {"head": 0.8, "*": "erk"})
    with pytest.raises(ValueError, match="the map of densities and the model's layers differ in: haed"):
        layer_densities(layers, 0.3, {"haed": 0.8, "*": "erk"})
    with pytest.raises(ValueError, match="distribution='ekr' is unknown"):
        layer_densities(layers, 0.3, {"head": 0.8, "*": "ekr"})
