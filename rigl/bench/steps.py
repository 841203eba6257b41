"""A training step of the engine: each method against dense, and where its time goes."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch

from rigl.augmentation import draw
from rigl.bench.timing import Step, ratio, spread, times
from rigl.config import DATASETS, RunConfig
from rigl.data import Images
from rigl.engine import Engine
from rigl.engines import choose
from rigl.methods import METHODS
from rigl.run import Run, Start, build_run

METHODS_TIMED = ("static", "set", "snfs", "rigl", "rigl-sg", "rigl-sm", "pruning", "lottery", "rigl-struct")
# Between two updates, which take the place of one of so many steps.
BETWEEN = 99


def config(model: str, batch: int, method: str = "dense") -> RunConfig:
    """The paper's run of `model`, on images like CIFAR-10's, or CIFAR-100's for ResNet-50."""
    dataset = "cifar100" if model == "resnet-50" else "cifar10"
    return RunConfig(protocol="paper", dataset=dataset, model=model, method=method, batch_size=batch)


def noise(config: RunConfig, count: int, device: torch.device) -> Images:
    """Images that no data set is needed for."""
    channels, height, width = config.input_shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, DATASETS[config.dataset].classes, (count,), generator=generator)
    return Images(x, y).to(device)


def measure(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """Seconds a step, and ratios to dense.

    What a method adds to a step lies in the optimiser's part and is far smaller than the noise of whole
    steps: it is timed by itself, between updates and at one.
    """
    dense = Engine(prepared(config(model, batch), device))
    rigl = Engine(prepared(config(model, batch, "rigl"), device))
    images = noise(dense.run.config, 8 * batch, device)
    place = iter(range(10**9))

    def fetch() -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator(device).manual_seed(next(place))
        plan = draw(images.x[:batch], batch, dense.run.config.augmentation, generator)
        return dense.batch(images, plan)

    x, y = fetch()

    def step(engine: Engine) -> Step:
        def one() -> None:
            engine.run.model.train()
            engine.run.sparsifier.step_count = 0
            engine.step(x, y)

        return one

    def forward() -> None:
        dense.run.model.train()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, dense.run.precision == "bf16"):
            dense.network(x)

    def forward_and_backward() -> None:
        dense.run.model.train()
        dense.run.optimizer.zero_grad()
        dense.backward(x, y)

    whole = times(
        {
            "dense": step(dense),
            "rigl": step(rigl),
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
    for method in METHODS_TIMED:
        run = prepared(config(model, batch, method), device)
        found = times(
            {"dense": optimise(dense.run), "between": optimise(run), "update": optimise(run, update=True)},
            3 * rounds,
            device,
        )
        rounds_of = zip(found["dense"], found["between"], found["update"], strict=True)
        moves = run.sparsifier.method.grow is not None or run.sparsifier.method.prunes
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
    """An epoch of so many `steps`, with a mask update, by each engine: seconds a step, and ratios."""
    found: dict[str, list[float]] = {}
    variants: dict[str, Step] = {}
    for method in ("dense", "rigl"):
        for name in ("eager", "captured"):
            engine = choose(prepared(config(model, batch, method), device), name=name)
            variants[f"{method}, {name}"] = _epoch(engine, steps)
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


def _epoch(engine: Engine, steps: int) -> Step:
    images = noise(engine.run.config, steps * engine.run.config.batch_size, engine.run.device)

    def one() -> None:
        engine.run.sparsifier.step_count = 0
        with engine:
            engine.epoch(images, 0)

    return one


def prepared(config: RunConfig, device: torch.device) -> Run:
    """A run whose optimiser has its state; one that starts from another's masks gets random ones."""
    start = Start()
    if METHODS[config.method].source:
        other = RunConfig(**{**config.model_dump(), "method": "static", "distribution": "erk"})
        start = Start(masks=build_run(other, device).sparsifier.masks)
    run = build_run(config, device, start)
    optimise(run)()
    return run


def optimise(run: Run, *, update: bool = False) -> Step:
    """The optimiser's step and what masking adds to it, at an update or between two."""
    # An update takes the gradients away: keep them for the next.
    generator = torch.Generator(run.device).manual_seed(0)
    kept = [(p, torch.empty_like(p.detach()).normal_(generator=generator)) for p in run.model.parameters()]
    # Pruning's first update is the first one due after it begins.
    due = next((s for s in range(run.config.total_steps) if _is_due(run, s)), 0) if update else 0

    def one() -> None:
        for parameter, gradient in kept:
            parameter.grad = gradient
        run.sparsifier.step_count = due
        run.optimizer.step()

    return one


def _is_due(run: Run, step: int) -> bool:
    run.sparsifier.step_count = step
    return run.sparsifier.update_due
