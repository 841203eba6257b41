"""The catalogue of methods: how each of them moves its masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Literal

import torch
from torch import Tensor

from rigl.training.config import SOURCES

State = Mapping[str, Any]
Score = Callable[[Tensor, State, torch.Generator], "Tensor | None"]


def gradient_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor | None:
    """\\|gradient\\|, the dense one; None where this step gave the weight no gradient."""
    return None if weight.grad is None else weight.grad.abs()


def momentum_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor | None:
    """\\|momentum\\|: SGD's buffer, or what Adam's moments make of it, m / (sqrt(v) + 1e-8).

    Before the optimiser's first step there is none, and the gradient is what momentum starts from. Raises
    ValueError for an optimiser that keeps none.
    """
    if isinstance(buffer := state.get("momentum_buffer"), Tensor):
        return buffer.abs()
    if "exp_avg" in state:
        momentum: Tensor = state["exp_avg"]
        if "exp_avg_sq" in state:
            momentum = momentum / (state["exp_avg_sq"].sqrt() + 1e-8)
        return momentum.abs()
    if state:
        raise ValueError(f"this method goes by momentum, and the optimizer keeps none: {', '.join(state)}")
    return gradient_score(weight, state, generator)


def random_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor:
    """Uniform numbers: the largest of them are a uniform draw without replacement."""
    return torch.rand(weight.shape, generator=generator, device=weight.device)


@dataclass(frozen=True)
class Method:
    """One row of the methods table.

    masked           whether weights are masked at all
    grow             the score by which an update grows what it dropped by magnitude; None never grows
    share            the score whose mean over a layer's active weights decides how many of all dropped
                     weights that layer regrows; None leaves every layer its own number
    prunes           updates drop by global magnitude after a schedule, and grow nothing
    channels         whole output channels are dropped and grown, and one that is dropped and grown in the
                     same update keeps its weights; the output layers stay dense
    dense_state      gradients and the optimiser's state are left unmasked
    dense_gradients  the steps whose gradient is needed for inactive weights too
    """

    name: str
    masked: bool = True
    grow: Score | None = None
    share: Score | None = None
    prunes: bool = False
    channels: bool = False
    dense_state: bool = False
    dense_gradients: Literal["never", "updates", "always"] = "never"

    @property
    def source(self) -> str | None:
        """The method of the run whose final mask this one starts from."""
        return SOURCES.get(self.name)


_RIGL: dict[str, Any] = {"grow": gradient_score, "dense_gradients": "updates"}
METHODS = {
    method.name: method
    for method in (
        Method("dense", masked=False),
        Method("small-dense", masked=False),
        Method("static"),
        Method("set", grow=random_score),
        Method("snfs", grow=momentum_score, share=momentum_score, dense_state=True, dense_gradients="always"),
        Method("rigl", **_RIGL),
        Method("rigl-sg", **_RIGL, share=gradient_score),
        Method("rigl-sm", **_RIGL, share=momentum_score),
        Method("pruning", prunes=True, dense_state=True),
        Method("lottery", dense_state=True),
        Method("rigl-reinit", **_RIGL),
        Method("rigl-struct", **_RIGL, channels=True),
    )
}


@dataclass(frozen=True)
class Preset:
    """Rules in which published implementations differ.

    rounding         of the number of weights an update drops, drop fraction times active weights
    keeps_regrown    a weight that is dropped and grown in the same update keeps value and momentum;
                     else it starts again from 0
    masks_momentum   the optimiser's state is masked at every step; else it is only set to 0 where a
                     connection is new. Methods with dense state (SNFS, pruning, lottery) do neither
    masks_first_conv the first convolution takes part under ER, ERK and redistribution
    updates_from_0   updates at steps 0, delta_t, 2 delta_t, ... that do not advance the step count;
                     else at delta_t - 1, 2 delta_t - 1, ..., each of them a step. A run of so many optimiser
                     calls then ends that many steps earlier in its schedules
    spares_full      under redistribution, a layer of sparsity below 0.2 whose share exceeds 1 / layers
                     drops no more than its sparsity. (Without redistribution the study's code takes the same
                     share for all layers, so the rule never acts)
    """

    name: str
    rounding: Callable[[float], int]
    keeps_regrown: bool
    masks_momentum: bool
    masks_first_conv: bool
    updates_from_0: bool
    spares_full: bool


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("repro2021", ceil, False, True, True, False, True),
        Preset("google", floor, True, False, False, True, False),
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
