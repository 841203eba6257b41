"""Mask updates of whole networks against `reference`, over layers as odd as they come."""

import math
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
import reference
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rigl.sparsity.methods import METHODS, PRESETS
from rigl.sparsity.updates import MaskedWeight, drop_and_grow, momentum_score, prune_to

COARSE = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0)  # with many ties, and their sums are exact
ODD = (*COARSE, math.inf, -math.inf, math.nan)
FRACTIONS = st.sampled_from([0.0, 1.0, 0.3]) | st.integers(0, 1000).map(lambda share: share / 1000)
DTYPES = st.sampled_from([torch.float32, torch.float64])
MASKS = ("any", "any", "full", "empty", "nearly full", "nearly empty")
VALUES = ("coarse", "coarse", "equal", "zero", "odd")


def some_mask(way, size, random):
    if way == "any":
        return random.choices([True, False], k=size)
    mask = [way in ("full", "nearly full")] * size
    if way.startswith("nearly"):
        place = random.randrange(size)
        mask[place] = not mask[place]
    return mask


def some_values(way, size, random):
    if way == "equal":
        return [random.choice(COARSE)] * size
    return random.choices({"coarse": COARSE, "zero": [0.0], "odd": ODD}[way], k=size)


@st.composite
def weights(draw, channels=False, state="sgd"):
    """One layer as the reference sees it: what kind it is is drawn, its numbers follow from a seed."""
    random = Random(draw(st.integers(0, 999)))
    units = draw(st.integers(1, 6 if channels else 30))
    width = draw(st.integers(1, 4)) if channels else 1
    size = units * width

    def numbers():
        return some_values(draw(st.sampled_from(VALUES)), size, random)

    found = {}
    if state == "sgd" and draw(st.booleans()):
        found = {"momentum_buffer": numbers()}
    if state == "adam":
        found = {"exp_avg": numbers(), "exp_avg_sq": random.choices([0.0, 0.3, 1.0, 2.0], k=size)}
    return reference.Weight(
        value=numbers(),
        mask=[unit for unit in some_mask(draw(st.sampled_from(MASKS)), units, random) for _ in range(width)],
        gradient=numbers() if draw(st.integers(0, 5)) else None,
        state=found,
        random=[abs(number) for number in numbers()],
        channels=units if channels else None,
    )


def part_of(weight, dtype):
    """The same layer as the package sees it."""
    shape = (weight.channels, -1) if weight.channels else (-1,)

    def tensor(values, kind=dtype):
        return None if values is None else torch.tensor(values, dtype=kind).view(shape)

    parameter = torch.nn.Parameter(tensor(weight.value))
    parameter.grad = tensor(weight.gradient)
    parameter.given = tensor(weight.random)
    return MaskedWeight(
        parameter,
        tensor(weight.mask, torch.bool),
        sum(weight.mask),
        {name: tensor(values) for name, values in weight.state.items()},
        torch.Generator(),
        channels=None if weight.channels is None else 0,
    )


def method_of(name):
    """SET draws from what the example holds, ties and all."""
    if name == "set":
        return replace(METHODS[name], grow=lambda weight, state, generator: weight.given)
    return METHODS[name]


def unclear(network, fraction, name, preset):
    """Whether a share lies so near a border that the last bit of a sum decides."""
    grows_by, shares_by, _ = reference.METHODS[name]
    scored = [weight for weight in network if reference.score(weight, grows_by) is not None]
    shares = reference.shares_of(scored, shares_by) if shares_by and scored else None
    if shares is None or (len(set(shares)) == 1 and len(shares) in (1, 2, 4)):  # 1, 0.5, 0.25 are exact
        return False
    total = sum(reference.drop_counts(scored, fraction, preset, shares))
    wishes = [share * total for share in shares]
    near_half = any(abs(wish % 1 - 0.5) < 1e-9 for wish in wishes)
    near_even = any(abs(share - 1 / len(shares)) < 1e-12 for share in shares)
    favours = sorted(round(wish) - wish for wish in wishes)
    tied = any(b - a < 1e-9 for a, b in pairwise(favours))
    return near_half or near_even or (tied and sum(map(round, wishes)) > total)


def check(network, fraction, name, preset, dtype):
    assume(not unclear(network, fraction, name, preset))
    parts = [part_of(weight, dtype) for weight in network]
    before = [(p.weight.detach().clone(), p.mask.clone()) for p in parts]
    updates = drop_and_grow(parts, fraction, method_of(name), PRESETS[preset])
    expected = reference.drop_and_grow(network, fraction, name, preset)
    for update, after in zip(updates, expected, strict=True):
        assert (update is None) == (after is None)
        if update is not None:
            assert update.survivors.flatten().tolist() == after.kept
            assert update.mask.flatten().tolist() == after.mask
            assert update.active == sum(after.mask)
    stood = [update.mask if update else part.mask for update, part in zip(updates, parts, strict=True)]
    assert sum(int(mask.sum()) for mask in stood) == sum(sum(weight.mask) for weight in network)
    for part, (weight, mask) in zip(parts, before, strict=True):
        assert torch.equal(part.mask, mask)
        torch.testing.assert_close(part.weight.detach(), weight, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["set", "rigl", "rigl-sg", "rigl-sm", "snfs"])
@settings(max_examples=60)
@given(st.lists(weights(), min_size=1, max_size=5), FRACTIONS, DTYPES)
def test_single_weights(preset, name, network, fraction, dtype):
    check(network, fraction, name, preset, dtype)


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=60)
@given(
    st.lists(weights(channels=True), min_size=1, max_size=4),
    FRACTIONS,
    DTYPES,
)
def test_whole_channels(preset, network, fraction, dtype):
    check(network, fraction, "rigl-struct", preset, dtype)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["snfs", "rigl-sm"])
@settings(max_examples=40)
@given(st.lists(weights(state="adam"), min_size=1, max_size=4), FRACTIONS)
def test_momentum_of_adam(preset, name, network, fraction):
    check(network, fraction, name, preset, torch.float64)


@settings(max_examples=100)
@given(
    st.lists(weights(state="none"), min_size=1, max_size=5),
    st.data(),
    DTYPES,
)
def test_pruning(network, data, dtype):
    layers = sum(any(weight.mask) for weight in network)
    count = data.draw(st.integers(layers, sum(sum(weight.mask) for weight in network)))
    updates = prune_to([part_of(weight, dtype) for weight in network], count)
    for update, after in zip(updates, reference.prune_to(network, count), strict=True):
        assert update.mask.tolist() == update.survivors.tolist() == after.mask
        assert update.active == sum(after.mask)


def test_a_share_is_of_active_weights_alone():
    """By hand: means 1 and 3 over active weights, so 2 dropped come back as 0.5 and 1.5, that is 0 and 2."""
    first = reference.Weight([1.0, 2.0, 0, 0], [True, True, False, False], [1.0, 1.0, 90.0, 80.0])
    second = reference.Weight([1.0, 2.0, 0, 0], [True, True, False, False], [-3.0, 3.0, 0.0, 70.0])
    updates = drop_and_grow(
        [part_of(weight, torch.float64) for weight in (first, second)],
        0.5,
        METHODS["rigl-sg"],
        PRESETS["google"],
    )
    assert [update.mask.tolist() for update in updates] == [
        [False, True, False, False],
        [True, True, False, True],
    ]


def test_a_nearly_full_layer_is_spared():
    """By hand: 10 of 12 active and most of the gradient, so it drops ceil(1/6 * 10) = 2 of ceil(5)."""
    full = reference.Weight([float(n) for n in range(1, 13)], [True] * 10 + [False] * 2, [9.0] * 12)
    half = reference.Weight([1.0] * 10, [True] * 5 + [False] * 5, [1.0] * 10)
    parts = [part_of(weight, torch.float64) for weight in (full, half)]
    for preset, dropped in (("repro2021", 2), ("google", 5)):
        updates = drop_and_grow(parts, 0.5, METHODS["rigl-sg"], PRESETS[preset])
        assert 10 - int(updates[0].survivors.sum()) == dropped
        updates = drop_and_grow(parts, 0.5, METHODS["rigl"], PRESETS[preset])
        assert 10 - int(updates[0].survivors.sum()) == 5


def test_whole_numbers_are_not_rounded_away():
    """0.07 * 100 is 7.000000000000001 and means 7; 0.29 * 100 is 28.999999999999996 and means 29."""
    for preset, fraction, dropped in (("repro2021", 0.07, 7), ("google", 0.29, 29)):
        layer = reference.Weight([1.0] * 100, [True] * 100, [1.0] * 100)
        updates = drop_and_grow([part_of(layer, torch.float64)], fraction, METHODS["rigl"], PRESETS[preset])
        assert 100 - int(updates[0].survivors.sum()) == dropped


@pytest.mark.parametrize("square", [0.0, 1e-18, 1e-6, 4.0])
def test_what_adam_makes_of_momentum(square):
    layer = reference.Weight([1.0], [True], [5.0], {"exp_avg": [-3.0], "exp_avg_sq": [square]})
    part = part_of(layer, torch.float64)
    found = momentum_score(part.weight, part.state, part.generator)
    assert found.tolist() == pytest.approx(reference.momentum(layer))
    assert found.tolist() == pytest.approx([3.0 / (square**0.5 + 1e-8)])


def test_a_layer_of_sparsity_a_fifth_is_not_spared():
    """8 of 10 active is not below 0.2, though 1 - 8 / 10 is: it drops ceil(0.5 * 8) = 4."""
    fifth = reference.Weight([float(n) for n in range(1, 11)], [True] * 8 + [False] * 2, [9.0] * 10)
    half = reference.Weight([1.0] * 10, [True] * 5 + [False] * 5, [1.0] * 10)
    parts = [part_of(weight, torch.float64) for weight in (fifth, half)]
    updates = drop_and_grow(parts, 0.5, METHODS["rigl-sg"], PRESETS["repro2021"])
    assert int(updates[0].survivors.sum()) == 4


def test_what_is_inactive_does_not_touch_a_share():
    """Means 3 and 1 over active weights; the first layer's infinite gradient is not among them."""
    first = reference.Weight([1.0, 2.0, 0, 0], [True, True, False, False], [3.0, 3.0, math.inf, math.nan])
    second = reference.Weight([1.0, 2.0, 0, 0], [True, True, False, False], [1.0, 1.0, 0.0, 0.0])
    parts = [part_of(weight, torch.float64) for weight in (first, second)]
    updates = drop_and_grow(parts, 0.5, METHODS["rigl-sg"], PRESETS["google"])
    assert [update.active for update in updates] == [3, 1]
