"""Training steps of the engine: each method against dense, and their parts; concurrent runs; utilisation of
the device; and networks with fewer channels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.timing import Step, Subject, config, optimise, prepared, ratio, spread, times
from rigl.sparsity.compaction import compact
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.methods import METHODS
from rigl.training.augmentation import draw
from rigl.training.config import RunConfig
from rigl.training.devices import resolve_precision
from rigl.training.models.dropout import draw_from
from rigl.training.run import build_run, full_layers

# A method that grows and starts from another run's masks takes the steps of one that does not.
TIMED = tuple(name for name, rule in METHODS.items() if rule.masked and not (rule.source and rule.grow))
# Steps between two updates.
BETWEEN = 99
LANES = (1, 2, 4, 8)


def measure(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """Seconds per step, and ratios to dense.

    The overhead of a method is in the optimiser's step and far smaller than the noise of whole steps. It is
    therefore timed separately, between updates and at an update.
    """
    dense = Subject(device, model=model, batch=batch)
    rigl = Subject(device, model=model, batch=batch, method="rigl")
    seeds = count()

    def fetch() -> None:
        generator = torch.Generator(device).manual_seed(next(seeds))
        dense.engine.batch(
            dense.images, draw(dense.images.x, batch, dense.run.config.augmentation, generator)
        )

    def forward() -> None:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, dense.run.precision == "bf16"):
            dense.engine.network(dense.x)

    def forward_and_backward() -> None:
        dense.run.optimizer.zero_grad()
        dense.engine.backward(dense.x, dense.y)

    whole = times(
        {
            "dense": dense.step,
            "rigl": rigl.step,
            "data": fetch,
            "forward": forward,
            "forward and backward": forward_and_backward,
        },
        rounds,
        device,
    )
    whole["backward"] = [
        both - one for both, one in zip(whole.pop("forward and backward"), whole["forward"], strict=True)
    ]
    seconds = {name: spread(values) for name, values in whole.items()}
    base = times({"dense": optimise(dense.run)}, 3 * rounds, device)["dense"]
    seconds["dense, optimiser"] = spread(base)
    ratios = {"rigl against dense, whole steps between updates": ratio(whole["rigl"], whole["dense"])}
    for method in TIMED:
        run = prepared(config(model, batch, method), device)
        moves = run.sparsifier.method.moves
        found = times(
            {"dense": optimise(dense.run), "between": optimise(run), "update": optimise(run, update=moves)},
            3 * rounds,
            device,
        )
        rounds_of = zip(found["dense"], found["between"], found["update"], strict=True)
        seconds[f"{method}, optimiser and masks"] = spread(found["between"])
        if moves:
            seconds[f"{method}, an update"] = spread(found["update"])
        added = [
            (BETWEEN * between + (update if moves else between)) / (BETWEEN + 1) - plain
            for plain, between, update in rounds_of
        ]
        ratios[f"{method} against dense, a step, updates included"] = spread(
            [1 + each / median(whole["dense"]) for each in added]
        )
    return {
        "seconds": seconds,
        "ratios": {**ratios, "data, share of a dense step": ratio(whole["data"], whole["dense"])},
    }


def engines(device: torch.device, *, model: str, rounds: int, batch: int, steps: int) -> dict[str, Any]:
    """An epoch of `steps` steps with a mask update, by each engine: seconds per step, and ratios."""
    found: dict[str, list[float]] = {}
    variants: dict[str, Step] = {}
    for method in ("dense", "rigl"):
        for name in ("eager", "captured"):
            subject = Subject(device, model=model, batch=batch, method=method, steps=steps, engine=name)
            variants[f"{method}, {name}"] = subject.epoch
    found = times(variants, rounds, device)
    each = {name: [value / steps for value in values] for name, values in found.items()}
    return {
        "seconds": {f"an epoch's step: {name}": spread(values) for name, values in each.items()},
        "images_per_second": {name: batch / median(values) for name, values in each.items()},
        "ratios": {
            "captured against eager, dense, images a second": ratio(
                each["dense, eager"], each["dense, captured"]
            ),
            "rigl against dense, captured, epochs with an update": ratio(
                each["rigl, captured"], each["dense, captured"]
            ),
        },
    }


def lanes(
    device: torch.device, *, model: str, rounds: int, batch: int, steps: int, engine: str
) -> dict[str, Any]:
    """Images per second of 1, 2, 4 and 8 concurrent RigL runs, and ratios to a single one."""
    size: dict[str, Any] = {"model": model, "batch": batch, "steps": steps, "engine": engine}
    subjects = [Subject(device, method="rigl", **size) for _ in range(max(LANES))]
    with ThreadPoolExecutor(max(LANES)) as pool:

        def together(count: int) -> None:
            list(pool.map(Subject.epoch, subjects[:count]))

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


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations read and write: the memory traffic without caches and
    fusion."""

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


def limits(
    device: torch.device, *, model: str, rounds: int, batch: int, steps: int, engine: str = "eager"
) -> dict[str, Any]:
    """FLOP/s and bytes/s of a dense step, absolute and relative to the device's. Captured steps are timed as
    an epoch of `steps`."""
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


def structured(device: torch.device, *, model: str, rounds: int, batch: int = 128) -> dict[str, Any]:
    """Training steps and inference of networks with fewer channels at density 0.1, against dense:
    small-dense, and RigL-struct without its dead channels under both distributions.

    The channels are those of the initial masks, since RigL-struct keeps their number in every layer. The
    biases of batch norms are set to random values, since `compact` has to carry along the constants of dead
    channels.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(device, memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), generator=generator).to(device)
    bf16 = resolve_precision("auto", device) == "bf16"
    noise = torch.Generator(device)
    networks: dict[str, nn.Module] = {}
    for name, knobs in {
        "dense": {"method": "dense"},
        "small-dense": {"method": "small-dense"},
        "RigL-struct, uniform": {"method": "rigl-struct", "distribution": "uniform"},
        "RigL-struct, erk": {"method": "rigl-struct", "distribution": "erk"},
    }.items():
        run = build_run(RunConfig(protocol="paper", dataset="cifar10", model=model, **knobs), device)
        run.sparsifier.detach()
        networks[name] = run.model
        if run.config.method == "rigl-struct":
            for module in run.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.bias, -0.5, 0.5)
            cut = compact(run.model, (3, 32, 32))
            networks[name] = cut.to(memory_format=torch.channels_last)

    def train(network: nn.Module) -> Step:
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)

        def one() -> None:
            network.train()
            draw_from(network, noise)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(network(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return one

    def infer(network: nn.Module) -> Step:
        def one() -> None:
            network.eval()
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                network(x)

        return one

    steps = {f"{name}, training": train(network) for name, network in networks.items()}
    steps |= {f"{name}, inference": infer(network) for name, network in networks.items()}
    found = times(steps, rounds, device)
    return {
        "seconds": {f"structured: {name}": spread(values) for name, values in found.items()},
        "ratios": {
            f"{name} against dense, wall time of {what}": ratio(
                found[f"{name}, {what}"], found[f"dense, {what}"]
            )
            for name in networks
            if name != "dense"
            for what in ("training", "inference")
        },
    }
