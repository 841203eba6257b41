"""Masks against a slow, obvious version that sorts lists."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rigl.sparsity.masks import drop, grow, prune, random_mask, redistribute


@st.composite
def layers(draw):
    """Values with many ties, now and then infinite or not a number, a mask, and a count."""
    size = draw(st.integers(1, 40))
    value = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, float("inf"), -float("inf"), float("nan")])
    values = draw(st.lists(value, min_size=size, max_size=size))
    mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    count = draw(st.integers(0, size))
    return values, mask, count


def chosen(keys, candidates, count):
    """Positions of the `count` candidates with the smallest key, of equal keys the first."""
    return sorted((key, position) for position, key in enumerate(keys) if candidates[position])[:count]


@given(layers())
def test_drop_takes_the_smallest_by_position(layer):
    values, mask, count = layer
    keys = [-1.0 if np.isnan(v) else abs(v) for v in values]
    gone = {position for _, position in chosen(keys, mask, count)}
    expected = [active and position not in gone for position, active in enumerate(mask)]
    assert drop(torch.tensor(values), torch.tensor(mask), count).tolist() == expected


@given(layers())
def test_grow_takes_the_largest_inactive_by_position(layer):
    values, mask, count = layer
    keys = [float("inf") if np.isnan(v) else -v for v in values]
    new = {position for _, position in chosen(keys, [not m for m in mask], count)}
    expected = [active or position in new for position, active in enumerate(mask)]
    assert grow(torch.tensor(values), torch.tensor(mask), count).tolist() == expected


@given(st.integers(1, 60), st.data())
def test_counts_are_exact(size, data):
    count = data.draw(st.integers(0, size))
    mask = random_mask((size,), count, torch.Generator().manual_seed(0))
    assert int(mask.sum()) == count
    dropped = data.draw(st.integers(0, count))
    kept = drop(torch.randn(size), mask, dropped)
    assert int(kept.sum()) == count - dropped
    assert not bool((kept & ~mask).any())
    moved = grow(torch.zeros(size), kept, dropped)
    assert int(moved.sum()) == count
    assert bool((moved | ~kept).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_and_untouched_inputs(dtype):
    weight = torch.tensor([3.0, -1.0, 2.0, 0.5], dtype=dtype)
    mask = torch.tensor([True, True, True, False])
    before = weight.clone(), mask.clone()
    assert drop(weight, mask, 2).tolist() == [True, False, False, False]
    assert grow(weight, mask, 1).tolist() == [True, True, True, True]
    assert torch.equal(weight, before[0])
    assert torch.equal(mask, before[1])


def test_position_is_logical_whatever_the_strides():
    values = torch.randint(0, 3, (4, 3, 2, 2), generator=torch.Generator().manual_seed(1)).float()
    mask = random_mask(values.shape, 30, torch.Generator().manual_seed(2))
    expected = drop(values, mask, 11), grow(values, mask, 7)
    strided = values.to(memory_format=torch.channels_last)
    strided_mask = torch.empty_like(strided, dtype=torch.bool).copy_(mask)
    assert torch.equal(drop(strided, strided_mask, 11), expected[0])
    assert torch.equal(grow(strided, strided_mask, 7), expected[1])


def test_random_mask_is_uniform_and_seeded():
    generator = torch.Generator().manual_seed(3)
    mean = torch.stack([random_mask((3, 4), 3, generator) for _ in range(4000)]).double().mean(0)
    assert float((mean - 0.25).abs().max()) < 0.04  # six standard errors
    again = random_mask((50,), 20, torch.Generator().manual_seed(9))
    assert torch.equal(again, random_mask((50,), 20, torch.Generator().manual_seed(9)))


def test_bad_input_is_named():
    mask = torch.ones(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="count=4"):
        random_mask((3,), 4)
    with pytest.raises(ValueError, match="count=-1"):
        drop(torch.ones(3), mask, -1)
    with pytest.raises(ValueError, match="shapes differ"):
        grow(torch.ones(4), mask, 1)


@given(layers())
def test_drop_and_grow_are_the_references(layer):
    values, mask, count = layer
    assert drop(torch.tensor(values), torch.tensor(mask), count).tolist() == reference.drop(
        values, mask, count
    )
    assert grow(torch.tensor(values), torch.tensor(mask), count).tolist() == reference.grow(
        values, mask, count
    )


@settings(max_examples=100)
@given(st.lists(layers(), min_size=1, max_size=4), st.data(), st.sampled_from([torch.float32, torch.float64]))
def test_prune_leaves_the_largest_of_all_and_one_in_each(network, data, dtype):
    values, masks = [layer[0] for layer in network], [layer[1] for layer in network]
    occupied, active = sum(map(any, masks)), sum(map(sum, masks))
    count = data.draw(st.integers(occupied, active) | st.just(occupied) | st.just(active))
    pruned = prune([torch.tensor(v, dtype=dtype) for v in values], [torch.tensor(m) for m in masks], count)
    assert [mask.tolist() for mask in pruned] == reference.prune(values, masks, count)
    assert sum(int(mask.sum()) for mask in pruned) == count
    assert sum(bool(mask.any()) for mask in pruned) == occupied


def test_prune_by_hand():
    weights = [torch.tensor([0.1, -0.3, 0.2]), torch.tensor([[5.0, -9.0], [7.0, 5.0]])]
    masks = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    kept = prune(weights, masks, 4)  # the first layer keeps its largest, though all others are larger
    assert [mask.tolist() for mask in kept] == [[False, True, False], [[True, True], [True, False]]]
    for count in (1, 8):
        with pytest.raises(ValueError, match=rf"count={count} must lie in \[2, 7\]"):
            prune(weights, masks, count)
    # Where one layer is in double precision, single does not blur the order.
    close = [torch.tensor([1.0, 1.0]), torch.ones(3, dtype=torch.float64)]
    close[1] += torch.tensor([0, 1e-12, 2e-12]).double()
    kept = prune(close, [torch.ones_like(weight, dtype=torch.bool) for weight in close], 3)
    assert [mask.tolist() for mask in kept] == [[True, False], [False, True, True]]


@st.composite
def regrowths(draw):
    """Shares in 64ths, whose products with whole numbers are exact; a total; room for it."""
    network = draw(st.integers(1, 7))
    borders = sorted(draw(st.lists(st.integers(0, 64), min_size=network - 1, max_size=network - 1)))
    shares = [(b - a) / 64 for a, b in zip([0, *borders], [*borders, 64], strict=True)]
    room = draw(
        st.lists(st.sampled_from([0, 1, 2, 3]) | st.integers(0, 300), min_size=network, max_size=network)
    )
    total = draw(st.integers(0, sum(room)) | st.just(sum(room)))
    return shares, total, room


@settings(max_examples=150)
@given(regrowths())
def test_redistribute_is_the_references(example):
    shares, total, room = example
    counts = redistribute(shares, total, room)
    assert counts == reference.redistribute(shares, total, room)
    assert sum(counts) == total
    assert all(0 <= count <= free for count, free in zip(counts, room, strict=True))


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000)), min_size=1, max_size=8).filter(
        lambda rows: sum(weight for weight, _ in rows) > 1e-3
    ),
    st.floats(0, 1),
)
def test_redistribute_spreads_evenly(rows, part):
    """Whatever the shares: counts are exact, caps hold, and leftovers differ by one at most."""
    whole = sum(weight for weight, _ in rows)
    shares, room = [weight / whole for weight, _ in rows], [free for _, free in rows]
    total = round(part * sum(room))
    counts = redistribute(shares, total, room)
    assert sum(counts) == total
    assert all(0 <= count <= free for count, free in zip(counts, room, strict=True))
    caps = [free * 99 // 100 for free in room]
    wished = [min(round(share * total), cap) for share, cap in zip(shares, caps, strict=True)]
    if sum(wished) <= total <= sum(caps):
        extra = [count - wish for count, wish in zip(counts, wished, strict=True)]
        assert all(count <= cap for count, cap in zip(counts, caps, strict=True))
        assert min(extra) >= 0
        below = [e for e, count, cap in zip(extra, counts, caps, strict=True) if count < cap]
        # One that is full got no more than those that are not.
        assert max(extra) - min(below, default=max(extra)) <= 1
    if total < sum(wished):
        assert all(0 <= wish - count <= 1 for wish, count in zip(wished, counts, strict=True))


def test_redistribute_by_hand():
    assert redistribute([0.5, 0.5], 10, [100, 100]) == [5, 5]
    assert redistribute([0.9, 0.1], 200, [100, 200]) == [99, 101]  # 0.99 of 100, the rest to the other
    assert redistribute([0.5, 0.5], 200, [100, 100]) == [100, 100]  # beyond the caps when both are full
    assert redistribute([1.0, 0.0, 0.0], 5, [0, 100, 100]) == [0, 3, 2]
    assert redistribute([0.25, 0.25, 0.25, 0.25], 6, [9] * 4) == [1, 1, 2, 2]  # 1.5 rounds to 2, one too many
    # 5 left over, the first full after 1 (its cap, 0.99 of 2): 2 more for each of the others
    assert redistribute([1.0, 0.0, 0.0, 0.0], 5, [0, 2, 90, 90]) == [0, 1, 2, 2]
    with pytest.raises(ValueError, match=r"total=5 must lie in \[0, 4\]"):
        redistribute([0.5, 0.5], 5, [2, 2])
