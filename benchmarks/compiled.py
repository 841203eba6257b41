"""What torch.compile gains on a small network's steps and over a whole run, and what it costs to have it."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch._inductor import config as inductor

from benchmarks.subject import Subject
from benchmarks.timing import ratio, spread, times
from rigl.training.devices import use_threads

LAPTOP: dict[str, Any] = {"protocol": "laptop", "model": "wrn-10-2", "batch": 128}


def measure(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """Dense steps compiled against eager ones: of `model`, and on one thread, as in a campaign, of the
    ``laptop`` protocol's network, also over its whole run with the compilation."""
    found = _compare(device, rounds, model=model, batch=batch)
    threads = torch.get_num_threads()
    use_threads(1)
    try:
        small = _compare(device, rounds, **LAPTOP)
    finally:
        use_threads(threads)
    eager, compiled = (small[name] for name in ("eager", "compiled"))
    steps = Subject(device, **LAPTOP).run.config.total_steps
    whole = [
        one * steps / (other * steps + small["seconds"]) for one, other in zip(eager, compiled, strict=True)
    ]
    name = f"{LAPTOP['model']} compiled against eager, one thread"
    return {
        "ratios": {
            "compiled against eager, dense, images a second": ratio(found["eager"], found["compiled"]),
            f"{name}, images a second": ratio(eager, compiled),
            f"{name}, a whole run with its compilation": spread(whole),
        },
        "compile_seconds": small["seconds"],
    }


def _compare(device: torch.device, rounds: int, **size: Any) -> dict[str, Any]:
    """Seconds a step by each engine, and those of the first compiled one."""
    eager, compiled = (Subject(device, engine=engine, **size) for engine in ("eager", "compiled"))
    begin = time.perf_counter()
    with inductor.patch(force_disable_caches=True):
        float(compiled.step())
    seconds = time.perf_counter() - begin
    return {**times({"eager": eager.step, "compiled": compiled.step}, rounds, device), "seconds": seconds}
