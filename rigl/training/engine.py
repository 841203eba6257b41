"""Training steps and evaluation on the device.

`Engine` takes eager steps, `Captured` replays steps recorded as CUDA graphs, `Compiled` uses torch.compile;
`choose` selects one of them for a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigl.sparsity.schedules import learning_rate
from rigl.training.augmentation import Normaliser, Plan, apply, draw, parts
from rigl.training.config import DATASETS, ENGINES, ConfigError, shown
from rigl.training.data import Images
from rigl.training.devices import slug
from rigl.training.models.dropout import draw_from
from rigl.training.project import root
from rigl.training.run import Run

EVALUATION_BATCH = 500
Metrics = tuple[float | None, float | None]
Tick = Callable[[], object]


class Engine:
    """Trains `run` with eager steps. A context manager, which restores the model's dropout layers on exit.

    All random numbers come from generators that are reseeded every epoch, so that a resumed run needs no
    saved random state, and several runs in one process are independent.
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
        """Train for one epoch; returns its mean loss and accuracy (percent), None where not finite. `tick` is
        called after every step."""
        plan = self.plan(images, number)
        self.totals.zero_()
        self.run.model.train()
        self.steps(images, plan, tick)
        return self._read(len(images))

    def plan(self, images: Images, number: int) -> Plan:
        """Draw the plan of an epoch, and seed the generator of dropout."""
        config = self.run.config
        seed = config.seed * 100_003 + number + 1
        self.noise.manual_seed(seed + 500_000_003)  # not the plan's seed
        generator = torch.Generator(self.run.device).manual_seed(seed)
        return draw(images.x, config.batch_size, config.augmentation, generator)

    def steps(self, images: Images, plan: Plan, tick: Tick) -> None:
        for part in parts(plan, self.run.config.batch_size):
            self.step(*self.batch(images, part))
            tick()

    def batch(self, images: Images, part: Plan) -> tuple[Tensor, Tensor]:
        return self.normalise(apply(images.x, part)), images.y[part.rows]

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Take one optimiser step on a batch; returns its mean loss, on the device."""
        self.set_learning_rate()
        self.run.optimizer.zero_grad()
        loss = self.backward(x, y)
        self.run.count_step()
        self.run.optimizer.step()
        return loss

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Backpropagate a batch's mean loss, and add the loss and the correct predictions to the totals."""
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
        # Captured steps read it as float32: use the same value in eager steps on a GPU.
        return float(np.float32(rate)) if self.run.device.type == "cuda" else rate

    @torch.no_grad()
    def evaluate(self, images: Images) -> Metrics:
        """Mean loss and top-1 accuracy in percent, without augmentation, dropout or label smoothing."""
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


# Eager steps before the capture, in which libraries initialise and the optimiser creates its state.
WARM_UP = 3
_ONE_AT_A_TIME = Lock()
_FREE: dict[torch.device, list[torch.cuda.Stream]] = {}


class Recorder(Protocol):
    """Records work on the device so that it can be replayed."""

    def context(self) -> AbstractContextManager[object]:
        """The context in which all work of one run is done."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work` without running it, and return a function that does."""


class Graphs:
    """CUDA graphs with a stream and a memory pool of their own; they draw from `generator`."""

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self.device, self.generator = device, generator
        self.pool = torch.cuda.graph_pool_handle()
        self.stream: torch.cuda.Stream | None = None

    @contextmanager
    def context(self) -> Iterator[None]:
        # torch cycles through a pool of streams: make sure that concurrent runs do not share one.
        with _ONE_AT_A_TIME:
            free = _FREE.setdefault(self.device, [])
            self.stream = free.pop() if free else torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            # Only this stream: a device-wide synchronisation would break another run's capture.
            self.stream.synchronize()
            with _ONE_AT_A_TIME:
                _FREE[self.device].append(self.stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # Other runs of this process may continue meanwhile, but not capture.
        with (
            _ONE_AT_A_TIME,
            torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay


class Repeats:
    """Stands in for CUDA graphs on other devices: runs the work again on each replay."""

    def context(self) -> AbstractContextManager[object]:
        return nullcontext()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


class Captured(Engine):
    """Trains `run` by replaying two captured graphs. The first steps, and the last batch of an epoch if it is
    smaller, are eager."""

    name = "captured"

    def __init__(self, run: Run, recorder: Recorder | None = None) -> None:
        super().__init__(run)
        self.recorder = recorder or Graphs(run.device, self.noise)
        self.parameters = [p for p in run.model.parameters() if p.requires_grad]
        self._gradients: list[Tensor | None] = []
        # The fused optimiser reads it as float32 on a GPU, as float64 on a CPU.
        exact = torch.float32 if run.device.type == "cuda" else torch.float64
        self.learning_rate = torch.zeros((), dtype=exact, device=run.device)
        self.cursor = torch.zeros((), dtype=torch.int64, device=run.device)
        self.places = torch.arange(run.config.batch_size, device=run.device)
        self._rate: float | None = None
        self._warm = 0
        self._plan: Plan | None = None
        self._replay: tuple[Callable[[], None], Callable[[], None]] | None = None

    @property
    def recorded(self) -> bool:
        """Whether steps have been captured."""
        return self._replay is not None

    def __enter__(self) -> Self:
        self._context = self.recorder.context()
        self._context.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._context.__exit__(kind, error, trace)

    def steps(self, images: Images, plan: Plan, tick: Tick) -> None:
        size, sparsifier = self.run.config.batch_size, self.run.sparsifier
        if self._plan is None:
            self._plan = plan
        else:
            self._plan.copy_(plan)
        self._images = images
        self.cursor.zero_()
        for begin in range(0, len(plan), size):
            if begin + size > len(plan):
                self.step(*self.batch(images, plan.at(slice(begin, None))))
            else:
                if self._replay is None and self._warm >= WARM_UP and not sparsifier.update_due:
                    self._record()
                self._again(*(self._replay or (self._forward, self._optimise)))
                self._warm += 1
            tick()

    def set_learning_rate(self) -> None:
        rate = self.rate()
        if rate != self._rate:
            self.learning_rate.fill_(rate)
            self._rate = rate
        for group in self.run.optimizer.param_groups:
            group["lr"] = self.learning_rate

    def _record(self) -> None:
        forward = self.recorder.record(self._forward)
        # They are in the graph's memory, which every replay overwrites.
        self._gradients = [parameter.grad for parameter in self.parameters]
        self._replay = forward, self.recorder.record(self._optimise)

    def _again(self, forward: Callable[[], None], optimise: Callable[[], None]) -> None:
        run = self.run
        self.set_learning_rate()
        # Updates and eager steps reset them.
        for parameter, gradient in zip(self.parameters, self._gradients, strict=bool(self._gradients)):
            parameter.grad = gradient
        forward()
        run.count_step()
        if run.sparsifier.update_due:
            run.optimizer.step()
        else:
            optimise()
            run.sparsifier.step_count += 1

    def _forward(self) -> None:
        """To be captured: forward and backward of the next batch, into new gradients."""
        assert self._plan is not None
        for parameter in self.parameters:
            parameter.grad = None
        x, y = self.batch(self._images, self._plan.at(self.places + self.cursor))
        self.cursor += len(self.places)
        self.backward(x, y)

    def _optimise(self) -> None:
        """To be captured: the optimiser's step with its masking hooks, but without counting it."""
        count = self.run.sparsifier.step_count
        self.run.optimizer.step()
        self.run.sparsifier.step_count = count


class Compiled(Engine):
    """Trains full batches with the network compiled by torch.compile. It is compiled once, since masks are
    applied outside the network."""

    name = "compiled"

    def __init__(self, run: Run) -> None:
        from torch._inductor.cpp_builder import (
            get_cpp_compiler,
        )  # takes a second to import

        super().__init__(run)
        try:
            get_cpp_compiler()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"engine='compiled' needs a C++ compiler ({reason}): choose eager") from None
        torch.compiler.reset()  # the ninth network of one process would silently run uncompiled
        self.network = torch.compile(run.model, dynamic=False)  # type: ignore[assignment]

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        network = self.network
        if len(x) < self.run.config.batch_size:  # an epoch's last, which would be compiled separately
            self.network = self.run.model
        try:
            return super().backward(x, y)
        finally:
            self.network = network


def choose(run: Run, name: str = "auto") -> Engine:
    """The engine called `name` for `run`.

    ``"eager"`` runs plain steps, ``"captured"`` replays them as CUDA graphs (emulated on a CPU),
    ``"compiled"`` uses torch.compile, which is faster for the small networks of ``laptop`` and slower for
    those with dropout. ``"auto"`` is captured on a GPU where ``python -m benchmarks --verify`` found captured
    and eager steps to agree, else eager. Raises ConfigError for an unknown name, and for compiled steps on a
    GPU or without a C++ compiler.
    """
    if name not in ENGINES:
        raise ConfigError(f"engine={shown(name)} is unknown: choose one of {', '.join(ENGINES)}")
    if name == "compiled" and run.device.type != "cpu":
        raise ConfigError("engine='compiled' is for the CPU: choose auto")
    if name == "compiled":
        return Compiled(run)
    cuda = run.device.type == "cuda"
    if name == "captured" or (name == "auto" and cuda and verified(run.device)):
        return Captured(run, None if cuda else Repeats())
    return Engine(run)


def verification_path(device: torch.device) -> Path:
    """The file in which ``python -m benchmarks --verify`` stores its result for `device`. Raises
    FileNotFoundError outside the project."""
    return root() / "results" / "bench" / "verified" / f"{slug(device)}.json"


def verified(device: torch.device) -> bool:
    """Whether captured steps were verified on this kind of device with this minor version of torch."""
    try:
        found = json.loads(verification_path(device).read_text())
    except (FileNotFoundError, ValueError):  # a damaged file counts as none
        return False
    return bool(found["passed"]) and _minor(found["versions"]["torch"]) == _minor(str(torch.__version__))


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
