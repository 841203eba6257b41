"""How far a step is from what the device can do: its FLOPs and its memory traffic against a large matrix
product and a large copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.subject import Subject
from benchmarks.timing import ratio, spread, times
from rigl.sparsity.flops import forward_flops
from rigl.training.run import full_layers


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all tensors that operations read and write: what a step moves if nothing stays
    in a cache and no two operations are one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, out)):
                if isinstance(leaf, Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return out


def measure(
    device: torch.device, *, model: str, rounds: int, batch: int, steps: int, engine: str = "eager"
) -> dict[str, Any]:
    """FLOP/s and bytes/s of a dense step, and the share of the device's own that these are. Captured steps
    are timed as an epoch of `steps`."""
    ours = Subject(device, model=model, batch=batch, steps=steps, engine=engine)
    with Traffic() as traffic:
        ours.step()
    flops = 3 * forward_flops(full_layers(ours.run.config)) * batch
    product, product_flops = _product(device, ours.run.precision)
    copy, copy_bytes = _copy(device)

    found = times({"dense": ours.timed, "matrix product": product, "copy": copy}, rounds, device)
    seconds = ours.per_step(found["dense"])
    rates = {
        "a step, FLOP/s": [flops / s for s in seconds],
        "a matrix product, FLOP/s": [product_flops / s for s in found["matrix product"]],
        "a step, bytes/s": [traffic.bytes / s for s in seconds],
        "a copy, bytes/s": [copy_bytes / s for s in found["copy"]],
    }
    shares = {
        "a step's FLOP/s against a matrix product's": ratio(
            rates["a step, FLOP/s"], rates["a matrix product, FLOP/s"]
        ),
        "a step's bytes/s against a copy's": ratio(rates["a step, bytes/s"], rates["a copy, bytes/s"]),
    }
    arithmetic, memory = (each["median"] for each in shares.values())
    return {
        "rates": {name: spread(values) for name, values in rates.items()},
        "ratios": shares,
        "limit": "arithmetic" if arithmetic > memory else "memory",
    }


def _product(device: torch.device, precision: str) -> tuple[Callable[[], Tensor], float]:
    size = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return lambda: a @ b, 2.0 * size**3


def _copy(device: torch.device) -> tuple[Callable[[], Tensor], float]:
    count = 2**28 if device.type == "cuda" else 2**25  # floats; more than any cache holds
    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * source.nbytes
