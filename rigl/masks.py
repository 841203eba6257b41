"""Masks as pure functions of tensors.

Counts are exact. Ties go to the lower position, where a position is the logical index into the
flattened tensor, whatever its strides. Nothing waits for the device: counts are Python integers
and come out right by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

import torch
from torch import Tensor


def random_mask(shape: Sequence[int], count: int, generator: torch.Generator | None = None) -> Tensor:
    """A bool mask of `shape` with exactly `count` active positions, drawn uniformly.

    It lies on the generator's device. Raises ValueError where `count` is not in [0, size].
    """
    size = prod(shape)
    if not 0 <= count <= size:
        raise ValueError(f"count={count} must lie in [0, {size}]")
    device = generator.device if generator is not None else "cpu"
    mask = torch.zeros(size, dtype=torch.bool, device=device)
    mask[torch.randperm(size, generator=generator, device=device)[:count]] = True
    return mask.view(*shape)


def drop(weight: Tensor, mask: Tensor, count: int) -> Tensor:
    """`mask` without the `count` active positions whose \\|weight\\| is smallest (report, section 3).

    A weight that is not a number counts as the smallest of all. Where fewer than `count` are active,
    all of them go. Raises ValueError for a negative count or shapes that differ.
    """
    size = weight.detach().abs()
    return mask ^ _smallest(size.nan_to_num_(nan=-1.0, posinf=inf), mask, count)


def grow(score: Tensor, mask: Tensor, count: int) -> Tensor:
    """`mask` with the `count` inactive positions of the largest `score` added (report, section 3).

    A score that is not a number counts as the smallest of all. Where fewer than `count` are inactive,
    all of them come. Raises ValueError for a negative count or shapes that differ.
    """
    key = score.detach().neg().nan_to_num_(nan=inf, posinf=inf, neginf=-inf)
    return mask | _smallest(key, mask.logical_not(), count)


def _smallest(key: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The `count` candidates of smallest key: those below the count-th smallest key, and of those equal
    to it as many, by position, as are missing."""
    if count < 0:
        raise ValueError(f"count={count} must not be negative")
    if key.shape != candidates.shape:
        raise ValueError(f"shapes differ: {tuple(key.shape)} and {tuple(candidates.shape)}")
    if count == 0:
        return torch.zeros_like(candidates)
    if count >= key.numel():
        return candidates.clone()
    among = candidates.reshape(-1)
    if key.dtype in (torch.float16, torch.bfloat16):
        key = key.float()
    keys = key.reshape(-1).masked_fill(among.logical_not(), inf)
    threshold = keys.kthvalue(count).values
    below = among & (keys < threshold)
    equal = among & (keys == threshold)
    missing = count - below.sum()
    return (below | (equal & (equal.cumsum(0) <= missing))).reshape(key.shape)
