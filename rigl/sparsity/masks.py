"""Masks as pure functions of tensors.

Counts are exact Python integers, so no function waits for the device except `prune`, which reads all layers'
counts at once. Ties go to the lower position: the logical index into the flattened tensor, whatever its
strides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, inf, prod

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

# Positions looked at together, where a whole layer would need too much memory.
BLOCK = 2**18


def random_mask(shape: Sequence[int], count: int, generator: torch.Generator | None = None) -> Tensor:
    """A bool mask of `shape` with exactly `count` active positions, drawn uniformly.

    The mask is on the generator's device. Raises ValueError where `count` is not in [0, size].
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

    NaN counts as the smallest. If fewer than `count` positions are active, all of them are dropped. Raises
    ValueError for a negative count or shapes that differ.
    """
    return mask ^ _smallest(weight, lambda part: part.abs().nan_to_num_(nan=-1.0, posinf=inf), mask, count)


def grow(score: Tensor, mask: Tensor, count: int) -> Tensor:
    """`mask` with the `count` inactive positions of the largest `score` added (report, section 3).

    NaN counts as the smallest. If fewer than `count` positions are inactive, all of them are grown. Raises
    ValueError for a negative count or shapes that differ.
    """
    return mask | _smallest(
        score,
        lambda part: part.neg().nan_to_num_(nan=inf, posinf=inf, neginf=-inf),
        mask.logical_not(),
        count,
    )


def prune(weights: Sequence[Tensor], masks: Sequence[Tensor], count: int) -> list[Tensor]:
    """`masks` with the `count` active positions, over all layers together, whose \\|weight\\| is largest;
    ties go to the earlier layer, then to the lower position.

    No layer is left empty: each layer with an active weight keeps its largest. Raises ValueError if `count`
    is smaller than the number of such layers or larger than the number of active weights.
    """
    sizes = [mask.numel() for mask in masks]
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    active, layers = sum(counts), sum(count > 0 for count in counts)
    if not layers <= count <= active:
        raise ValueError(f"count={count} must lie in [{layers}, {active}]")
    double = any(weight.dtype == torch.float64 for weight in weights)
    everything = torch.cat([mask.reshape(-1) for mask in masks])
    keys = torch.empty(
        everything.shape, dtype=torch.float64 if double else torch.float32, device=everything.device
    )
    for part, weight, mask in zip(torch.split(keys, sizes), weights, masks, strict=True):
        part.copy_(weight.detach().abs().reshape(-1)).nan_to_num_(nan=-1.0)
        part.masked_fill_(mask.logical_not().reshape(-1), -inf)
        part[part.argmax()] = inf
    # Among equals the later ones go first, so that the lower position stays.
    gone = _smallest(keys, lambda part: part, everything, active - count, last=True)
    parts = torch.split(everything ^ gone, sizes)
    return [part.view(mask.shape) for part, mask in zip(parts, masks, strict=True)]


def multiply(tensor: Tensor, mask: Tensor) -> None:
    """Multiply by a bool mask of the same shape, in place: what is inactive becomes 0, or -0 if it was
    negative, and what is no number stays so.

    On a CPU torch first makes a float of the whole mask, which takes longer than to multiply by it.
    NumPy converts as it goes; of the types that it does not know, a block is converted at a time.
    """
    if tensor.device.type != "cpu" or tensor.is_complex():
        tensor.mul_(mask)
    elif tensor.dtype in (torch.float32, torch.float64):
        array = tensor.detach().numpy()
        np.multiply(array, mask.numpy(), out=array)
        increment_version(tensor)
    elif tensor.is_contiguous() and mask.is_contiguous():
        blocks = torch.split(tensor.view(-1), BLOCK), torch.split(mask.view(-1), BLOCK)
        for block, part in zip(*blocks, strict=True):
            block.mul_(part.to(tensor.dtype))
    else:
        tensor.mul_(mask)


def redistribute(shares: Sequence[float], total: int, room: Sequence[int]) -> list[int]:
    """How many of the `total` connections just dropped each layer regrows; the counts sum to `total`.

    shares  each layer's share of the whole: not negative, summing to 1
    room    each layer's inactive positions after the drop; at least `total` in all

    A layer gets round(share * total), but at most 0.99 of its room. What the caps leave over is handed out
    one at a time, in turn, to the layers below their cap and, once all have reached it, to those with room
    left. An excess from rounding is taken back from the layers that rounding favoured most. Raises ValueError
    if `total` exceeds the room.
    """
    if not 0 <= total <= sum(room):
        raise ValueError(f"total={total} must lie in [0, {sum(room)}], the room there is")
    caps = [floor(0.99 * free) for free in room]
    counts = [min(round(share * total), cap) for share, cap in zip(shares, caps, strict=True)]
    while (left := total - sum(counts)) > 0:
        below = [index for index, cap in enumerate(caps) if counts[index] < cap]
        if not below:
            caps = list(room)
            continue
        # As if given out one by one, in turn.
        each = min(left // len(below), min(caps[index] - counts[index] for index in below))
        for index in below if each else below[:left]:
            counts[index] += each or 1
    favoured = sorted(range(len(counts)), key=lambda index: shares[index] * total - counts[index])
    for index in favoured[: max(0, -left)]:
        counts[index] -= 1
    return counts


def _smallest(
    values: Tensor,
    key: Callable[[Tensor], Tensor],
    candidates: Tensor,
    count: int,
    last: bool = False,
) -> Tensor:
    """The `count` candidates of smallest key: those below the count-th smallest key, and of those equal
    to it as many as are missing, the first by position or the `last`. `key` makes keys of values."""
    if count < 0:
        raise ValueError(f"count={count} must not be negative")
    if values.shape != candidates.shape:
        raise ValueError(f"shapes differ: {tuple(values.shape)} and {tuple(candidates.shape)}")
    if count == 0:
        return torch.zeros_like(candidates)
    if count >= candidates.numel():
        return candidates.clone()
    flat, among = values.detach().reshape(-1), candidates.reshape(-1)
    if flat.device.type == "cpu":
        below, equal = _at_threshold_on_cpu(flat, key, among, count)
    else:
        keys = _single(key(flat))
        # kthvalue would keep a single block of a GPU busy with a whole layer.
        threshold = keys.masked_fill(among.logical_not(), inf).topk(count, largest=False, sorted=False)
        below, equal = (keys < threshold.values.amax()) & among, (keys == threshold.values.amax()) & among
    ties = _first(equal.flip(0) if last else equal, count - below.count_nonzero())
    return below.logical_or_(ties.flip(0) if last else ties).view(candidates.shape)


def _at_threshold_on_cpu(
    flat: Tensor, key: Callable[[Tensor], Tensor], among: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Which candidates' keys are below the count-th smallest of them, and which equal it.

    By NumPy's partition, faster than torch's kthvalue and topk, as the benchmark's update of one layer shows.
    Keys are made block by block, and kept for the candidates alone: touching new memory costs most.
    """
    # torch's memory, so that its profiler sees it
    keys = torch.empty(int(among.count_nonzero()), dtype=_single(key(flat[:1])).dtype).numpy()
    if count >= len(keys):
        return among.clone(), torch.zeros_like(among)
    blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(flat), BLOCK)]
    end = 0
    for block in blocks:
        found = _single(key(flat[block])).numpy()[among[block].numpy()]
        begin, end = end, end + len(found)
        keys[begin:end] = found
    keys.partition(count - 1)
    threshold = float(keys[count - 1])
    del keys
    below, equal = torch.empty_like(among), torch.empty_like(among)
    for block in blocks:
        part = _single(key(flat[block]))
        torch.lt(part, threshold, out=below[block])
        torch.eq(part, threshold, out=equal[block])
    return below.logical_and_(among), equal.logical_and_(among)


def _single(key: Tensor) -> Tensor:
    """In single precision at least: comparing and sorting in less is slow, or not there."""
    return key.float() if key.dtype in (torch.float16, torch.bfloat16) else key


def _first(mask: Tensor, count: Tensor) -> Tensor:
    """The first `count` positions of a flat mask, which may be written to."""
    if mask.device.type != "cpu":  # nothing waits for the device
        exact = torch.int32 if mask.numel() < 2**31 else torch.int64
        return mask & (mask.cumsum(0, dtype=exact) <= count)
    missing = int(count)
    if not missing:
        return mask.zero_()
    for begin in range(0, mask.numel(), BLOCK):
        block = mask[begin : begin + BLOCK]
        inside = int(block.count_nonzero())
        if inside >= missing:
            mask[begin + int(block.nonzero()[missing - 1]) + 1 :] = False
            break
        missing -= inside
    return mask
