"""How steps are taken: one batch after another through a run, on its device, without waiting for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigl.sparsity.schedules import learning_rate
from rigl.training.augmentation import Normaliser, Plan, apply, draw, parts
from rigl.training.config import DATASETS
from rigl.training.data import Images
from rigl.training.models.dropout import draw_from
from rigl.training.run import Run

EVALUATION_BATCH = 500
Metrics = tuple[float | None, float | None]
Tick = Callable[[], object]


class Engine:
    """Takes the steps of `run` one by one. A context: what it sets on the model is taken off again.

    What is drawn at random comes from generators that are seeded anew every epoch, so that a resumed run
    needs no saved random state, and several runs in one process do not disturb each other.
    """

    name = "eager"

    def __init__(self, run: Run) -> None:
        self.run = run
        self.network: nn.Module = run.model
        facts = DATASETS[run.config.dataset]
        self.normalise = Normaliser.of(facts.mean, facts.std, run.device)
        self.noise = torch.Generator(run.device)
        self.totals = torch.zeros(2, dtype=torch.float64, device=run.device)

    def __enter__(self) -> Self:
        draw_from(self.run.model, self.noise)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        draw_from(self.run.model, None)

    def epoch(self, images: Images, number: int, tick: Tick = lambda: None) -> Metrics:
        """Train on every image once; mean loss and accuracy (percent) over the epoch, read from the device
        once. `tick` is called after every step; where a figure is not finite, None stands for it."""
        plan = self.plan(images, number)
        self.totals.zero_()
        self.run.model.train()
        self.steps(images, plan, tick)
        return self._read(len(images))

    def plan(self, images: Images, number: int) -> Plan:
        """All that is drawn at random for an epoch, but for dropout, whose generator is seeded."""
        config = self.run.config
        seed = config.seed * 100_003 + number + 1
        self.noise.manual_seed(seed + 500_000_003)  # another stream than the plan's
        generator = torch.Generator(self.run.device).manual_seed(seed)
        return draw(images.x, config.batch_size, config.augmentation, generator)

    def steps(self, images: Images, plan: Plan, tick: Tick) -> None:
        for part in parts(plan, self.run.config.batch_size):
            self.step(*self.batch(images, part))
            tick()

    def batch(self, images: Images, part: Plan) -> tuple[Tensor, Tensor]:
        return self.normalise(apply(images.x, part)), images.y[part.rows]

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One optimiser step on a batch; its mean loss, on the device."""
        self.set_learning_rate()
        self.run.optimizer.zero_grad()
        loss = self.backward(x, y)
        self.run.count_step()
        self.run.optimizer.step()
        return loss

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradients of a batch's mean loss, and that loss and the right answers added to the totals."""
        run = self.run
        with torch.autocast(run.device.type, torch.bfloat16, enabled=run.precision == "bf16"):
            logits = self.network(x)
            loss = F.cross_entropy(logits, y, label_smoothing=run.config.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self._add(loss.detach().double() * len(y), logits.detach(), y)
        return loss.detach()

    def set_learning_rate(self) -> None:
        rate = self.rate()
        for group in self.run.optimizer.param_groups:
            group["lr"] = rate

    def rate(self) -> float:
        config, step = self.run.config, self.run.sparsifier.step_count
        rate = learning_rate(
            step, config.learning_rate, config.lr_drop_every, config.lr_factor, config.warmup_steps
        )
        # On a GPU recorded steps read it as float32: let all steps there take the same.
        return float(np.float32(rate)) if self.run.device.type == "cuda" else rate

    @torch.no_grad()
    def evaluate(self, images: Images) -> Metrics:
        """(mean loss, top-1 accuracy in percent) without augmentation, dropout or label smoothing."""
        run = self.run
        run.model.eval()
        self.totals.zero_()
        for part in parts(draw(images.x, EVALUATION_BATCH), EVALUATION_BATCH):
            x, y = self.batch(images, part)
            with torch.autocast(run.device.type, torch.bfloat16, enabled=run.precision == "bf16"):
                logits = run.model(x)
            self._add(F.cross_entropy(logits.float(), y, reduction="sum").double(), logits, y)
        return self._read(len(images))

    def _add(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        self.totals += torch.stack((loss, (logits.argmax(1) == y).sum().double()))

    def _read(self, count: int) -> Metrics:
        loss, correct = self.totals.tolist()
        return _rounded(loss / count, 4), _rounded(100 * correct / count, 2)


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
