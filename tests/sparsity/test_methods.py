"""The catalogue: names as everywhere, scores that mean what they say."""

from typing import get_args

import pytest
import torch

from rigl.sparsity.methods import METHODS, PRESETS, gradient_score, method_named, preset_named, random_score
from rigl.training.config import Method, Preset


def test_names_are_those_of_a_config():
    assert set(METHODS) == set(get_args(Method))
    assert set(PRESETS) == set(get_args(Preset))
    assert all(name == method.name for name, method in METHODS.items())


def test_unknown_names_list_the_known():
    with pytest.raises(
        ValueError, match="method='snip' is unknown: choose one of dense, small-dense, static"
    ):
        method_named("snip")
    with pytest.raises(ValueError, match="preset='x' is unknown: choose one of repro2021, google"):
        preset_named("x")


def test_scores():
    weight = torch.zeros(3, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    assert gradient_score(weight, {}, generator) is None
    weight.grad = torch.tensor([1.0, -3.0, 2.0])
    assert gradient_score(weight, {}, generator).tolist() == [1, 3, 2]
    first, second = random_score(weight, {}, generator), random_score(weight, {}, generator)
    assert not torch.equal(first, second)
    assert bool(((first >= 0) & (first < 1)).all())
