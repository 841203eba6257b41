"""Masks against a slow, obvious version that sorts lists."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rigl.masks import drop, grow, random_mask


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
