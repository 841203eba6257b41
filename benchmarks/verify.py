"""``python -m benchmarks --verify``: compare captured steps with eager ones.

Every method takes the same number of steps from the same start. In float32, both must end with equal masks
and with losses that differ by rounding only. In bf16, rounding may change which weights are dropped: the
losses of captured and eager steps must not differ by more than those of two eager seeds. Two concurrent runs
must end like each of them alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from benchmarks.timing import noise, start_of
from rigl.sparsity.methods import METHODS
from rigl.training.config import RunConfig
from rigl.training.data import Images
from rigl.training.engine import Engine, choose
from rigl.training.run import build_run

# Of the mean loss of an epoch in float32. The kernels are the same, so the difference should be 0.
TOLERANCE = 1e-4


def verify(
    device: torch.device, *, steps: int = 200, batch: int = 128, model: str = "wrn-10-1"
) -> dict[str, Any]:
    """The comparison of each method, and whether all `passed`."""
    rows = []
    for method in METHODS:
        for precision in ("float32", "bf16") if device.type == "cuda" else ("float32",):
            knobs = {"method": method, "precision": precision, "batch_size": batch, "model": model}
            config = RunConfig(protocol="paper", dataset="cifar10", delta_t=20, **knobs)
            # Two epochs: the second replays the graphs of the first, and ends with a smaller batch.
            images = noise(config, (steps // 2) * batch - batch // 2, device)
            rows.append(_compare(config, images, device))
    rows.append(_lanes(device, batch, model, steps))
    return {"steps": steps, "rows": rows, "passed": all(row["passed"] for row in rows)}


def verdicts(found: dict[str, Any]) -> str:
    """The result of `verify`, one line per method and precision."""
    lines = [
        f"{row['method']:12} {row['precision']:8} {'agrees' if row['passed'] else 'DIFFERS'}: loss apart by "
        f"{row['loss_gap']:.2g} (allowed {row['allowed_gap']:.2g}), {row['mask_positions_that_differ']} mask "
        f"positions, {row['updates']} updates"
        for row in found["rows"]
    ]
    verdict = "captured steps agree with eager ones" if found["passed"] else "captured steps will not be used"
    return "\n".join([*lines, f"{found['steps']} steps each on {found['device']}: {verdict}"])


def _lanes(device: torch.device, batch: int, model: str, steps: int) -> dict[str, Any]:
    """Two concurrent captured runs must end like each of them alone, bit for bit."""
    knobs = {"method": "rigl", "precision": "float32", "batch_size": batch, "model": model, "delta_t": 20}
    configs = [RunConfig(protocol="paper", dataset="cifar10", seed=seed, **knobs) for seed in (0, 1)]
    images = noise(configs[0], (steps // 2) * batch - batch // 2, device)
    alone = [_train(config, images, device, "captured") for config in configs]
    with ThreadPoolExecutor(2) as pool:
        both = [*pool.map(lambda config: _train(config, images, device, "captured"), configs)]
    pairs = [*zip(alone, both, strict=True)]
    moved = sum(_moved(one, two) for one, two in pairs)
    gap = max(abs(one["loss"] - two["loss"]) for one, two in pairs)
    return {
        "method": "two lanes",
        "precision": "float32",
        "loss_gap": gap,
        "allowed_gap": 0.0,
        "mask_positions_that_differ": moved,
        "updates": both[0]["updates"],
        "recorded": both[0]["recorded"] and both[1]["recorded"],
        "passed": bool(moved == 0 and gap == 0 and both[0]["recorded"] and both[1]["recorded"]),
    }


def _compare(config: RunConfig, images: Images, device: torch.device) -> dict[str, Any]:
    other = config.but(seed=1)
    eager, captured = _train(config, images, device, "eager"), _train(config, images, device, "captured")
    gap = abs(eager["loss"] - captured["loss"])
    moved = _moved(eager, captured)
    if config.precision == "float32":
        passed = moved == 0 and gap <= TOLERANCE
        allowed = TOLERANCE
    else:
        allowed = abs(eager["loss"] - _train(other, images, device, "eager")["loss"])
        passed = gap <= max(allowed, TOLERANCE)
    return {
        "method": config.method,
        "precision": config.precision,
        "loss_gap": gap,
        "allowed_gap": allowed,
        "mask_positions_that_differ": moved,
        "updates": captured["updates"],
        "recorded": captured["recorded"],
        "passed": bool(passed and captured["recorded"] and captured["updates"] == eager["updates"]),
    }


def _moved(one: dict[str, Any], two: dict[str, Any]) -> int:
    """The number of mask positions in which two runs differ."""
    return sum(int((mask != two["masks"][name]).sum()) for name, mask in one["masks"].items())


def _train(config: RunConfig, images: Images, device: torch.device, name: str) -> dict[str, Any]:
    engine: Engine = choose(build_run(config, device, start_of(config, device)), name=name)
    if engine.run.sparsifier.method.prunes:  # under the protocol, pruning begins after 700 steps
        engine.run.sparsifier.prune_from = 0
    with engine:
        loss = [engine.epoch(images, number)[0] for number in range(2)][-1]
    return {
        "loss": float("nan") if loss is None else loss,
        "masks": engine.run.sparsifier.masks,
        "updates": engine.run.sparsifier.update_count,
        "recorded": name == "eager" or getattr(engine, "recorded", False),
    }
