"""Variants timed in turn, and the ratios of their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

import torch

Step = Callable[[], object]
Spread = dict[str, float]


def times(steps: Mapping[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds that each of `steps` takes, round by round; one round before them warms up."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, step in steps.items():
            wait(device)
            begin = time.perf_counter()
            step()
            wait(device)
            if index:
                found[name].append(time.perf_counter() - begin)
    return found


def wait(device: torch.device) -> None:
    """Until `device` has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return {"median": median(values), "low": low, "high": high}


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Of two variants, round by round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])
