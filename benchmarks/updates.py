"""What masking a large layer costs: an update against two plain top-k, a step against the optimiser's own,
and the memory that both take."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import isqrt
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import ratio, spread, times
from rigl.sparsity.sparsifier import Sparsifier

DENSITY, ALPHA = 0.1, 0.3


def measure(device: torch.device, *, weights: int, rounds: int) -> dict[str, Any]:
    """Ratios, and bytes a weight, of a square linear layer of so many `weights` under RigL at density 0.1.

    The plain update is what a naive RigL does: ``topk`` of the active weights' magnitudes and of the inactive
    weights' gradients, for the same counts.
    """
    side = isqrt(weights)
    generator = torch.Generator(device).manual_seed(0)
    model = nn.Linear(side, side, bias=False, device=device)
    weight, size = model.weight, side * side
    gradient = torch.randn(side, side, device=device, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
    masks = {"weight": torch.rand(side, side, device=device, generator=generator) < DENSITY}
    sparsifier = Sparsifier(
        model, optimizer, method="rigl", masks=masks, alpha=ALPHA, total_steps=10**6, delta_t=100
    )

    def step(at: int) -> Callable[[], None]:
        def one() -> None:
            weight.grad = gradient
            sparsifier.step_count = at
            optimizer.step()

        return one

    update, masked = step(99), step(0)
    count = round(ALPHA * DENSITY * size)

    def plain() -> tuple[Any, Any]:
        mask = sparsifier.masks["weight"]
        dropped = torch.where(mask, weight.detach().abs(), torch.inf).view(-1).topk(count, largest=False)
        return dropped, torch.where(mask, -1.0, gradient.abs()).view(-1).topk(count)

    twin = nn.Parameter(weight.detach().clone())
    alone = torch.optim.SGD([twin], lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)

    def own() -> None:
        twin.grad = gradient
        alone.step()

    masked()  # the optimisers make their state
    own()
    kept = [*sparsifier.masks.values(), *sparsifier._float_masks.values()]
    found = times({"update": update, "plain": plain, "masked": masked, "own": own}, rounds, device)
    peaks = {name: peak_bytes(work, device) / size for name, work in (("update", update), ("step", masked))}
    sparsifier.detach()
    bytes_each = {
        "an update of one layer, peak bytes a weight": peaks["update"],
        "a masked step of it, peak bytes a weight": peaks["step"],
        "its mask at rest, bytes a weight": sum(tensor.nbytes for tensor in kept) / size,
    }
    return {
        "ratios": {
            "an update of one layer against two plain top-k": ratio(found["update"], found["plain"]),
            "a masked step of one layer against the optimiser's own": ratio(found["masked"], found["own"]),
        },
        "seconds": {f"one layer of {size:,}: {name}": spread(values) for name, values in found.items()},
        "rates": {name: spread([value]) for name, value in bytes_each.items()},
    }


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most that `work` has allocated at any time, over what there was before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            work()
    results = seen.profiler.kineto_results if seen.profiler else None
    events = [event for event in (results.events() if results else []) if event.name() == "[memory]"]
    now = top = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        top = max(top, now)
    return top
