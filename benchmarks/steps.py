"""A training step of the engine: each method against dense, and where its time goes."""

from __future__ import annotations

from itertools import count
from statistics import median
from typing import Any

import torch

from benchmarks.subject import Subject, config, optimise, prepared
from benchmarks.timing import Step, ratio, spread, times
from rigl.sparsity.methods import METHODS
from rigl.training.augmentation import draw

# RigL begun once more takes RigL's steps.
TIMED = tuple(name for name, rule in METHODS.items() if rule.masked and name != "rigl-reinit")
# Between two updates, which take the place of one of so many steps.
BETWEEN = 99


def measure(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """Seconds a step, and ratios to dense.

    What a method adds to a step lies in the optimiser's part and is far smaller than the noise of whole
    steps: it is timed by itself, between updates and at one.
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
        found = times(
            {"dense": optimise(dense.run), "between": optimise(run), "update": optimise(run, update=True)},
            3 * rounds,
            device,
        )
        rounds_of = zip(found["dense"], found["between"], found["update"], strict=True)
        moves = run.sparsifier.method.moves
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
