"""One mask update of a whole network: what each method drops and grows, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod

import torch
from torch import Tensor

from rigl.sparsity.masks import drop, grow, prune, redistribute
from rigl.sparsity.methods import Method, Preset, Score, State

SPARED_BELOW = 0.2


@dataclass
class Part:
    """One masked weight as an update sees it.

    weight      the parameter, with its gradient
    mask        bool, of the weight's shape
    active      how many of the mask's positions are active
    state       the optimiser's tensors of this weight
    generator   the source of a random score
    by_channel  drop and grow whole output channels, the slices along dimension 0
    """

    weight: Tensor
    mask: Tensor
    active: int
    state: State
    generator: torch.Generator
    by_channel: bool = False

    @property
    def unit(self) -> int:
        """Weights that are dropped or grown together."""
        return prod(self.mask.shape[1:]) if self.by_channel else 1

    def units(self, values: Tensor) -> Tensor:
        """One value a unit: the values themselves, or the mean size of a channel's."""
        return values.abs().flatten(1).mean(1) if self.by_channel else values

    def unit_mask(self) -> Tensor:
        return self.mask.flatten(1)[:, 0] if self.by_channel else self.mask

    def whole(self, units: Tensor) -> Tensor:
        """A mask of units as a mask of the weight's shape."""
        if not self.by_channel:
            return units
        return units.view(-1, *[1] * (self.mask.dim() - 1)).expand_as(self.mask)


@dataclass
class Move:
    """A mask after an update: what stayed in the drop, all that is active now, and how many that is."""

    kept: Tensor
    moved: Tensor
    active: int


def drop_and_grow(
    parts: Sequence[Part], fraction: float, method: Method, preset: Preset
) -> list[Move | None]:
    """Drop `fraction` of each part's active units by magnitude and grow as many by the method's score.

    Where the method redistributes, a part regrows by its share of the network's mean score, and only the
    network's count stays. None stands for a part that has no score now and stays as it is. Reads the
    device once where shares are needed, else never.
    """
    assert method.grow is not None
    scores = [method.grow(part.weight, part.state, part.generator) for part in parts]
    moving = [index for index, score in enumerate(scores) if score is not None]
    shares = _shares([parts[index] for index in moving], method.share) if method.share else None
    kept, dropped, room = [], [], []
    for place, index in enumerate(moving):
        part = parts[index]
        size, active = part.mask.numel() // part.unit, part.active // part.unit
        rate, sparsity = fraction, (size - active) / size
        if shares and preset.spares_full and sparsity < SPARED_BELOW and shares[place] > 1 / len(moving):
            rate = min(sparsity, fraction)
        # An ulp above a whole number must not round up to the next.
        count = min(active, preset.rounding(round(rate * active, 9)))
        kept.append(drop(part.units(part.weight), part.unit_mask(), count))
        dropped.append(count)
        room.append(size - active + count)
    grown = redistribute(shares, sum(dropped), room) if shares else dropped
    moves: list[Move | None] = [None] * len(parts)
    for index, stays, gone, count in zip(moving, kept, dropped, grown, strict=True):
        part, score = parts[index], scores[index]
        assert score is not None
        moved = grow(part.units(score), stays, count)
        active = part.active + (count - gone) * part.unit
        moves[index] = Move(part.whole(stays), part.whole(moved), active)
    return moves


def prune_to(parts: Sequence[Part], count: int) -> list[Move]:
    """Leave `count` weights active in all parts together, the largest; never an empty part."""
    if not parts:
        return []
    masks = prune([part.weight for part in parts], [part.mask for part in parts], count)
    active = torch.stack([mask.sum() for mask in masks]).tolist()
    return [Move(mask, mask, int(left)) for mask, left in zip(masks, active, strict=True)]


def _shares(parts: Sequence[Part], score: Score) -> list[float] | None:
    """Each part's mean score over its active weights, over the sum of all; None where that sum is 0."""
    if not parts:
        return None
    means = []
    for part in parts:
        values = score(part.weight, part.state, part.generator)
        assert values is not None
        active = torch.where(part.mask, values.double(), 0.0)  # inf times 0 would be no number
        means.append(active.sum() / max(part.active, 1))
    found = [value if isfinite(value) else 0.0 for value in torch.stack(means).tolist()]
    total = sum(found)
    return [value / total for value in found] if total > 0 else None
