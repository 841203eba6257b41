"""The catalogue of methods: how each of them moves its masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor

import torch
from torch import Tensor

Score = Callable[[Tensor, torch.Generator], Tensor | None]


def gradient_score(weight: Tensor, generator: torch.Generator) -> Tensor | None:
    """\\|gradient\\|, the dense one; None where this step gave the weight no gradient."""
    return None if weight.grad is None else weight.grad.abs()


def random_score(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform numbers: the largest of them are a uniform draw without replacement."""
    return torch.rand(weight.shape, generator=generator, device=weight.device)


@dataclass(frozen=True)
class Method:
    """One row of the methods table.

    masked  whether weights are masked at all
    grow    the score by which an update grows what it dropped by magnitude; None never updates
    """

    name: str
    masked: bool = True
    grow: Score | None = None


METHODS = {
    method.name: method
    for method in (
        Method("dense", masked=False),
        Method("small-dense", masked=False),
        Method("static"),
        Method("set", grow=random_score),
        Method("rigl", grow=gradient_score),
    )
}


@dataclass(frozen=True)
class Preset:
    """Rules in which published implementations differ.

    rounding         of the number of weights an update drops, drop fraction times active weights
    keeps_regrown    a weight that is dropped and grown in the same update keeps value and momentum;
                     else it starts again from 0
    masks_momentum   the optimiser's state is masked at every step; else it is only set to 0 where a
                     connection is new
    masks_first_conv the first convolution takes part under ER and ERK
    updates_from_0   updates at steps 0, delta_t, 2 delta_t, ... that do not advance the step count;
                     else at delta_t - 1, 2 delta_t - 1, ..., each of them a step. A run of so many optimiser
                     calls then ends that many steps earlier in its schedules

    One rule of the study's code has nothing to act on here: a layer of sparsity below 0.2 drops less where
    its share of the redistribution statistic exceeds 1 / layers. Without redistribution, as in SET and RigL,
    that statistic is the same for all layers, so no share ever does.
    """

    name: str
    rounding: Callable[[float], int]
    keeps_regrown: bool
    masks_momentum: bool
    masks_first_conv: bool
    updates_from_0: bool


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("repro2021", ceil, False, True, True, False),
        Preset("google", floor, True, False, False, True),
    )
}


def method_named(name: str) -> Method:
    """The method called `name`; ValueError, naming all, where there is none."""
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def preset_named(name: str) -> Preset:
    """The preset called `name`; ValueError, naming all, where there is none."""
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} is unknown: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
