"""Dropout on a CPU: what is kept, how it is scaled, and gradients, against a float64 reference."""

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rigl.training.models.dropout import LEVELS, Dropout, random_keep


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def dropped(x, p=0.3, number=0):
    module = Dropout(p)
    module.generator = seeded(number)
    return module(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 5, 7), (4, 8, 6, 6)])
def test_forward_and_backward_against_a_reference(shape, dtype):
    x = torch.randn(shape, generator=seeded(1)).to(dtype).requires_grad_()
    weight = torch.randn(shape, generator=seeded(2)).to(dtype)
    keep, kept = random_keep(x, 0.3, seeded())
    out = dropped(x)
    out.backward(weight)
    assert set(keep.unique().tolist()) <= {0.0, 1.0}
    assert kept == 1 - round(0.3 * LEVELS) / LEVELS
    exact = x.detach().double() * keep.double() / kept
    slope = weight.double() * keep.double() / kept
    # One rounding of the scale, one of the product.
    close = {"rtol": 2 * torch.finfo(dtype).eps, "atol": 0}
    torch.testing.assert_close(out.detach().double(), exact, **close)
    torch.testing.assert_close(x.grad.double(), slope, **close)
    assert out.dtype == dtype


@given(st.floats(0.001, 0.999), st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 9))
@settings(max_examples=60)
def test_any_shape_and_rate(p, shape, number):
    x = torch.ones(shape)
    keep, kept = random_keep(x, p, seeded(number))
    assert keep.shape == x.shape
    assert kept == pytest.approx(1 - p, abs=0.5 / LEVELS)
    assert torch.equal(dropped(x, p, number) != 0, keep != 0)


def test_the_same_values_in_every_memory_format():
    x = torch.randn(3, 5, 7, 9, generator=seeded(1))
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(dropped(x), dropped(last))
    assert dropped(last).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("p", [0.3, 0.5, 1e-3])
def test_as_many_are_kept_as_chance_allows(p):
    count = 10**7
    keep, kept = random_keep(torch.empty(count), p, seeded(5))
    spread = sqrt(count * kept * (1 - kept))
    assert abs(float(keep.double().sum()) - count * kept) < 4 * spread
    # Each of the four values that share a draw, and neighbours, which share one.
    parts = keep.double().view(-1, 4)
    for place in range(4):
        assert abs(float(parts[:, place].sum()) - count / 4 * kept) < 4 * spread / 2
    together = float((parts[:, 0] * parts[:, 1]).sum())
    assert abs(together - count / 4 * kept**2) < 4 * sqrt(count / 4 * kept**2 * (1 - kept**2))


def test_extremes():
    x = torch.ones(1000)
    assert torch.equal(dropped(x, 0.0), x)
    assert not dropped(x, 1.0 - 1e-9).count_nonzero() > 2
    # A rate too small for sixteen bits drops nothing, and scales nothing.
    assert torch.equal(dropped(x, 1e-7), x)
