"""Timing of steps, variants in turn, for the protocol's runs on random images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

from rigl.sparsity.methods import METHODS
from rigl.training.augmentation import draw
from rigl.training.config import DATASETS, RunConfig
from rigl.training.data import Images
from rigl.training.engine import choose
from rigl.training.models.dropout import draw_from
from rigl.training.run import Run, Start, build_run

Step = Callable[[], object]
Spread = dict[str, float]


def times(steps: Mapping[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each of `steps` in every round, after a warm-up round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, step in steps.items():
            wait(device)
            begin = time.perf_counter()
            step()
            wait(device)
            if index:
                found[name].append(time.perf_counter() - begin)
    return found


def wait(device: torch.device) -> None:
    """Wait until `device` has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of measurements."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return {"median": median(values), "low": low, "high": high}


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The ratio of two variants, from the ratios of each round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


class Subject:
    """A run in which every timed step is step 0, with a batch `x`, `y`, and `images` for an epoch of
    `steps`."""

    def __init__(
        self,
        device: torch.device,
        *,
        model: str,
        batch: int,
        method: str = "dense",
        steps: int = 1,
        engine: str = "eager",
        precision: str = "auto",
        protocol: str = "paper",
    ) -> None:
        self.run = prepared(config(model, batch, method, precision, protocol), device)
        self.engine, self.steps = choose(self.run, name=engine), steps
        self.images = noise(self.run.config, steps * batch, device)
        self.x, self.y = self.engine.batch(self.images, draw(self.images.x[:batch], batch))
        self.run.model.train()
        self._draw()

    def _draw(self) -> None:
        """Use the engine's generator for dropout, also outside epochs."""
        draw_from(self.run.model, self.engine.noise)

    def step(self) -> Tensor:
        self.run.sparsifier.step_count = 0
        return self.engine.step(self.x, self.y)

    def epoch(self) -> None:
        self.run.sparsifier.step_count = 0
        with self.engine:
            self.engine.epoch(self.images, 0)
        self._draw()

    @property
    def whole(self) -> bool:
        """Whether steps are timed as an epoch: captured steps are only replayed in one."""
        return self.engine.name == "captured"

    @property
    def timed(self) -> Step:
        return self.epoch if self.whole else self.step

    def per_step(self, seconds: Sequence[float]) -> list[float]:
        """Convert seconds of `timed` to seconds per step."""
        return [each / (self.steps if self.whole else 1) for each in seconds]


def config(
    model: str, batch: int, method: str = "dense", precision: str = "auto", protocol: str = "paper"
) -> RunConfig:
    """The paper's run of `model`, on images like CIFAR-10's, or CIFAR-100's for ResNet-50."""
    dataset = "cifar100" if model == "resnet-50" else "cifar10"
    knobs: dict[str, Any] = {"model": model, "method": method, "batch_size": batch, "precision": precision}
    return RunConfig(protocol=protocol, dataset=dataset, **knobs)


def noise(config: RunConfig, count: int, device: torch.device) -> Images:
    """Random images of the size that a run is trained on."""
    channels, height, width = config.input_shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, DATASETS[config.dataset].classes, (count,), generator=generator)
    return Images(x, y).to(device)


def start_of(config: RunConfig, device: torch.device) -> Start:
    """The start of a run: random masks if it needs those of another run."""
    if not METHODS[config.method].source:
        return Start()
    other = config.but(method="static", distribution="erk")
    return Start(masks=build_run(other, device).sparsifier.masks)


def prepared(config: RunConfig, device: torch.device) -> Run:
    """A run after one step, so that its optimiser has state."""
    run = build_run(config, device, start_of(config, device))
    optimise(run)()
    return run


def optimise(run: Run, *, update: bool = False) -> Step:
    """The optimiser's step including masking, at an update or between updates."""
    # Updates reset the gradients: keep them for the next.
    generator = torch.Generator(run.device).manual_seed(0)
    kept = [(p, torch.empty_like(p.detach()).normal_(generator=generator)) for p in run.model.parameters()]
    # Pruning's first update is not at step 0.
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
