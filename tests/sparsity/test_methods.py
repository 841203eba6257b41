"""The catalogue: names as everywhere, scores that mean what they say."""

import pytest
import torch

from rigl.sparsity.methods import METHODS, Method, method_named, preset_named
from rigl.sparsity.updates import SCORES, gradient_score, random_score, score_of


def test_the_table_names_what_there_is():
    assert all(name == method.name for name, method in METHODS.items())
    scores = [score for method in METHODS.values() for score in method.scores]
    assert all(callable(score) or score in SCORES for score in scores)
    assert {method.source for method in METHODS.values()} - {None} <= set(METHODS)


def test_a_method_or_a_score_of_ones_own():
    mine = Method("mine", grow=random_score)
    assert method_named(mine) is mine
    assert score_of(mine.grow) is random_score
    with pytest.raises(ValueError, match="score='hessian' is unknown: choose one of magnitude, "):
        score_of("hessian")


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
