"""What a GPU gains from several runs at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from rigl.bench.steps import config, noise, prepared
from rigl.bench.timing import ratio, spread, times
from rigl.engine import Engine
from rigl.engines import choose

LANES = (1, 2, 4, 8)


def measure(
    device: torch.device, *, model: str, rounds: int, batch: int, steps: int, engine: str
) -> dict[str, Any]:
    """Images a second of 1, 2, 4 and 8 RigL runs together, and that against one alone."""
    engines = [choose(prepared(config(model, batch, "rigl"), device), name=engine) for _ in range(max(LANES))]
    images = noise(config(model, batch), steps * batch, device)

    def epoch(each: Engine) -> None:
        each.run.sparsifier.step_count = 0
        with each:
            each.epoch(images, 0)

    with ThreadPoolExecutor(max(LANES)) as pool:
        found = times(
            {str(count): lambda count=count: [*pool.map(epoch, engines[:count])] for count in LANES},  # type: ignore[misc]
            rounds,
            device,
        )
    rates = {count: [count * steps * batch / seconds for seconds in found[str(count)]] for count in LANES}
    return {
        "rates": {f"{count} lanes, images/s": spread(values) for count, values in rates.items()},
        "ratios": {
            f"{count} lanes against one, images a second": ratio(rates[count], rates[1])
            for count in LANES
            if count > 1
        },
    }
