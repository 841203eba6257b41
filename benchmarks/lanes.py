"""What a GPU gains from several runs at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch

from benchmarks.subject import Subject
from benchmarks.timing import ratio, spread, times

LANES = (1, 2, 4, 8)


def measure(
    device: torch.device, *, model: str, rounds: int, batch: int, steps: int, engine: str
) -> dict[str, Any]:
    """Images a second of 1, 2, 4 and 8 RigL runs together, and that against one alone."""
    size: dict[str, Any] = {"model": model, "batch": batch, "steps": steps, "engine": engine}
    lanes = [Subject(device, method="rigl", **size) for _ in range(max(LANES))]
    with ThreadPoolExecutor(max(LANES)) as pool:

        def together(count: int) -> None:
            list(pool.map(Subject.epoch, lanes[:count]))

        found = times({str(count): partial(together, count) for count in LANES}, rounds, device)
    rates = {count: [count * steps * batch / seconds for seconds in found[str(count)]] for count in LANES}
    return {
        "rates": {f"{count} lanes, images/s": spread(values) for count, values in rates.items()},
        "ratios": {
            f"{count} lanes against one, images a second": ratio(rates[count], rates[1])
            for count in LANES
            if count > 1
        },
    }
