"""What torch.compile gains on a step, and what it costs to have it."""

from __future__ import annotations

import time
from typing import Any

import torch

from rigl.augmentation import draw
from rigl.bench.steps import config, noise, prepared
from rigl.bench.timing import ratio, times
from rigl.engine import Engine


def measure(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """A dense step with the network compiled against one without; the first step compiles it."""
    eager, compiled = (Engine(prepared(config(model, batch), device)) for _ in range(2))
    images = noise(eager.run.config, batch, device)
    x, y = eager.batch(images, draw(images.x, batch))
    compiled.network = torch.compile(compiled.run.model)  # type: ignore[assignment]
    for engine in (eager, compiled):
        engine.run.model.train()
    begin = time.perf_counter()
    float(compiled.step(x, y))
    seconds = time.perf_counter() - begin
    found = times(
        {"eager": lambda: eager.step(x, y), "compiled": lambda: compiled.step(x, y)}, rounds, device
    )
    return {
        "ratios": {
            "compiled against eager, dense, images a second": ratio(found["eager"], found["compiled"])
        },
        "compile_seconds": seconds,
    }
