"""One mask update of a whole network: what each method drops and grows, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from rigl.sparsity.masks import drop, grow, prune, redistribute
from rigl.sparsity.methods import Method, Preset, Score

SPARED_BELOW = 0.2
MEST_LAMBDA = 0.01
State = Mapping[str, Any]
# From a weight, its optimiser state and a random generator to a score of the weight's shape, not negative;
# None if this step has none.
ScoreFunction = Callable[[Tensor, State, torch.Generator], "Tensor | None"]


def magnitude_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor:
    """\\|weight\\|."""
    return weight.detach().abs()


def gradient_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor | None:
    """\\|gradient\\|, dense; None if this step gave the weight no gradient."""
    return None if weight.grad is None else weight.grad.abs()


def momentum_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor | None:
    """\\|momentum\\|: SGD's buffer, or m / (sqrt(v) + 1e-8) from Adam's moments.

    Before the optimiser's first step it is the gradient, from which momentum starts. Raises ValueError for an
    optimiser that keeps no momentum.
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
    """Uniform random numbers; taking the largest is a uniform draw without replacement."""
    return torch.rand(weight.shape, generator=generator, device=weight.device)


def magnitude_and_gradient_score(weight: Tensor, state: State, generator: torch.Generator) -> Tensor:
    """\\|weight\\| + lambda \\|gradient\\|, with lambda 0.01, by which MEST drops (Yuan et al. 2021)."""
    size = magnitude_score(weight, state, generator)
    return size if weight.grad is None else size.add(weight.grad.abs(), alpha=MEST_LAMBDA)


SCORES: dict[str, ScoreFunction] = {
    "magnitude": magnitude_score,
    "magnitude+gradient": magnitude_and_gradient_score,
    "gradient": gradient_score,
    "momentum": momentum_score,
    "random": random_score,
}


def score_of(score: Score) -> ScoreFunction:
    """The function called `score`, or `score` itself if it is a function. Raises ValueError, listing all
    names, for an unknown one."""
    if callable(score):
        return score
    if score not in SCORES:
        raise ValueError(f"score={score!r} is unknown: choose one of {', '.join(SCORES)}, or give a function")
    return SCORES[score]


@dataclass
class MaskedWeight:
    """A masked weight with all that an update needs.

    weight      the parameter, with its gradient
    mask        bool, of the weight's shape
    active      how many of the mask's positions are active
    state       the optimiser's tensors of this weight
    generator   the source of a random score
    channels    the dimension along which whole output channels are dropped and grown; None: single weights
    """

    weight: Tensor
    mask: Tensor
    active: int
    state: State
    generator: torch.Generator
    channels: int | None = None

    @property
    def unit(self) -> int:
        """Number of weights that are dropped or grown together."""
        return 1 if self.channels is None else self.mask.numel() // self.mask.shape[self.channels]

    def units(self, values: Tensor) -> Tensor:
        """One value per unit: the values themselves, or each channel's mean absolute value."""
        if self.channels is None:
            return values
        return values.abs().movedim(self.channels, 0).flatten(1).mean(1)

    def unit_mask(self) -> Tensor:
        if self.channels is None:
            return self.mask
        return self.mask.movedim(self.channels, 0).flatten(1)[:, 0]

    def whole(self, units: Tensor) -> Tensor:
        """Expand a mask of units to the weight's shape."""
        if self.channels is None:
            return units
        return whole_channels(units, self.mask.shape, self.channels)


def whole_channels(units: Tensor, shape: Sequence[int], channels: int) -> Tensor:
    """Expand one value per channel to a weight's `shape`, whose channels are dimension `channels`."""
    return units.view([-1 if place == channels else 1 for place in range(len(shape))]).expand(*shape)


@dataclass
class MaskUpdate:
    """The result of an update: the `survivors` of the drop, the new `mask` and its `active` count, and how
    many weights were `dropped` and `grown`; a weight that was both counts as both."""

    survivors: Tensor
    mask: Tensor
    active: int
    dropped: int
    grown: int


def drop_and_grow(
    parts: Sequence[MaskedWeight], fraction: float, method: Method, preset: Preset
) -> list[MaskUpdate | None]:
    """Drop `fraction` of each part's active units by the method's score for it and grow as many by another.

    With redistribution, a part regrows by its share of the network's mean score, and only the network's count
    is kept. With a global drop, the smallest weights of all parts are dropped, and each part regrows as many
    as it lost. The result is None for a part without a score at this step, which stays as it is. Reads the
    device once for shares or a global drop, otherwise never.
    """
    assert method.grow is not None
    by = score_of(method.grow)
    scores = [by(part.weight, part.state, part.generator) for part in parts]
    moving = [index for index, score in enumerate(scores) if score is not None]
    shares = _shares([parts[index] for index in moving], method.share) if method.share else None
    rest = [parts[index] for index in moving]
    if method.drop_global:
        kept, dropped = _drop_of_all(rest, fraction, method, preset)
    else:
        kept, dropped = _drop_of_each(rest, fraction, method, preset, shares)
    room = [
        (part.mask.numel() - part.active) // part.unit + count
        for part, count in zip(rest, dropped, strict=True)
    ]
    grown = redistribute(shares, sum(dropped), room) if shares else dropped
    updates: list[MaskUpdate | None] = [None] * len(parts)
    for index, stays, gone, count in zip(moving, kept, dropped, grown, strict=True):
        part, score = parts[index], scores[index]
        assert score is not None
        moved = grow(part.units(score), stays, count)
        active = part.active + (count - gone) * part.unit
        updates[index] = MaskUpdate(
            part.whole(stays), part.whole(moved), active, gone * part.unit, count * part.unit
        )
    return updates


def _drop_of_each(
    parts: Sequence[MaskedWeight],
    fraction: float,
    method: Method,
    preset: Preset,
    shares: Sequence[float] | None,
) -> tuple[list[Tensor], list[int]]:
    """Each part's remaining units after `fraction` of them is dropped, and the number dropped."""
    kept, dropped = [], []
    for place, part in enumerate(parts):
        size, active = part.mask.numel() // part.unit, part.active // part.unit
        rate, sparsity = fraction, (size - active) / size
        if shares and preset.spares_full and sparsity < SPARED_BELOW and shares[place] > 1 / len(parts):
            rate = min(sparsity, fraction)
        count = min(active, _rounded(rate * active, preset))
        kept.append(drop(_worth(part, method), part.unit_mask(), count))
        dropped.append(count)
    return kept, dropped


def _drop_of_all(
    parts: Sequence[MaskedWeight], fraction: float, method: Method, preset: Preset
) -> tuple[list[Tensor], list[int]]:
    """The same for `fraction` of all parts' units together; no part is left empty."""
    if not parts:
        return [], []
    before = [part.active // part.unit for part in parts]
    count = sum(before) - _rounded(fraction * sum(before), preset)
    worths = [_worth(part, method) for part in parts]
    kept = prune(worths, [part.unit_mask() for part in parts], max(count, sum(map(bool, before))))
    after = torch.stack([units.sum() for units in kept]).tolist()
    return kept, [had - int(has) for had, has in zip(before, after, strict=True)]


def _worth(part: MaskedWeight, method: Method) -> Tensor:
    if method.drop == "magnitude":
        return part.units(part.weight.detach())  # `drop` takes absolute values itself: one copy less
    worth = score_of(method.drop)(part.weight, part.state, part.generator)
    if worth is None:
        raise ValueError(f"{method.name}: the score that drops gives nothing for a weight that grows")
    return part.units(worth)


def _rounded(count: float, preset: Preset) -> int:
    # An ulp above a whole number must not round up to the next.
    return preset.rounding(round(count, 9))


def prune_to(parts: Sequence[MaskedWeight], count: int) -> list[MaskUpdate]:
    """Keep the `count` largest weights of all parts together, and at least one in each part."""
    if not parts:
        return []
    masks = prune([part.weight for part in parts], [part.mask for part in parts], count)
    active = torch.stack([mask.sum() for mask in masks]).tolist()
    return [
        MaskUpdate(mask, mask, int(left), part.active - int(left), 0)
        for part, mask, left in zip(parts, masks, active, strict=True)
    ]


def prune_and_regrow(
    parts: Sequence[MaskedWeight], count: int, fraction: float, method: Method, preset: Preset
) -> list[MaskUpdate | None]:
    """`prune_to`, then `drop_and_grow` on what is left, as GraNet does (Liu et al. 2021, section 3.2)."""
    pruned = prune_to(parts, count)
    rest = [
        replace(part, mask=each.mask, active=each.active) for part, each in zip(parts, pruned, strict=True)
    ]
    moved = drop_and_grow(rest, fraction, method, preset)
    return [
        replace(after, dropped=before.dropped + after.dropped) if after else before
        for before, after in zip(pruned, moved, strict=True)
    ]


def _shares(parts: Sequence[MaskedWeight], score: Score) -> list[float] | None:
    """Each part's mean score over its active weights, normalised to sum to 1; None if all are 0."""
    if not parts:
        return None
    means = []
    for part in parts:
        values = score_of(score)(part.weight, part.state, part.generator)
        assert values is not None
        active = torch.where(part.mask, values.double(), 0.0)  # inf times 0 would be no number
        means.append(active.sum() / max(part.active, 1))
    found = [value if isfinite(value) else 0.0 for value in torch.stack(means).tolist()]
    total = sum(found)
    return [value / total for value in found] if total > 0 else None
