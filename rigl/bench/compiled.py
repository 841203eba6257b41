"""What torch.compile gains on a step, and what it costs to have it."""

from __future__ import annotations

import time
from typing import Any

import torch

from rigl.bench.subject import Subject
from rigl.bench.timing import ratio, times


def measure(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """A dense step with the network compiled against one without; the first step compiles it."""
    eager, compiled = (
        Subject(device, model=model, batch=batch, engine=engine) for engine in ("eager", "compiled")
    )
    begin = time.perf_counter()
    float(compiled.step())
    seconds = time.perf_counter() - begin
    found = times({"eager": eager.step, "compiled": compiled.step}, rounds, device)
    return {
        "ratios": {
            "compiled against eager, dense, images a second": ratio(found["eager"], found["compiled"])
        },
        "compile_seconds": seconds,
    }
