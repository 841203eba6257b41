"""Layers narrowed by rule, against networks that are really built."""

from math import sqrt

import pytest

from rigl.sparsity.shapes import narrowed
from rigl.training.config import DATASETS
from rigl.training.models import layers_of
from rigl.training.models.__main__ import SHOWN


@pytest.mark.parametrize("config", SHOWN, ids=lambda config: f"{config.model} on {config.dataset}")
@pytest.mark.parametrize("density", [0.02, 0.1, 0.2, 0.5, 1.0])
def test_narrowed_layers_are_those_of_a_narrower_model(config, density) -> None:
    classes = DATASETS[config.dataset].classes
    whole = layers_of(config.model, classes, 1.0, config.input_shape)
    built = layers_of(config.model, classes, sqrt(density), config.input_shape)
    assert narrowed(whole, sqrt(density)) == list(built)
