"""The step recorded once as CUDA graphs and replayed: no Python, no launch by launch, between its kernels.

One graph takes a batch, forward and backward; another masks gradients, takes the optimiser's step and masks
weights. At a mask update the second is left out and the mask moves as it always does, in place, so that both
graphs stay valid. Schedules reach them through device scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import Tensor

from rigl.training.augmentation import Plan
from rigl.training.data import Images
from rigl.training.engine import Engine, Tick
from rigl.training.run import Run

# Steps before the recording: libraries set themselves up, and the optimiser makes its state.
WARM_UP = 3
_ONE_AT_A_TIME = Lock()
_FREE: dict[torch.device, list[torch.cuda.Stream]] = {}


class Recorder(Protocol):
    """Turns work on the device into something that repeats it."""

    def context(self) -> AbstractContextManager[object]:
        """What all work of one run happens in."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work`, without doing it, and return what does it."""


class Graphs:
    """CUDA graphs on a stream of their own, with memory in common; `generator` is what they draw from."""

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self.device, self.generator = device, generator
        self.pool = torch.cuda.graph_pool_handle()
        self.stream: torch.cuda.Stream | None = None

    @contextmanager
    def context(self) -> Iterator[None]:
        # torch gives streams out in turn from a few: two runs at once must not come by the same one.
        with _ONE_AT_A_TIME:
            free = _FREE.setdefault(self.device, [])
            self.stream = free.pop() if free else torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            # Of this stream alone: to wait for the device would break what another run records.
            self.stream.synchronize()
            with _ONE_AT_A_TIME:
                _FREE[self.device].append(self.stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # Other runs of this process may go on meanwhile, but not record too.
        with (
            _ONE_AT_A_TIME,
            torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay


class Repeats:
    """Does the work again each time, on any device: a recording in all but speed."""

    def context(self) -> AbstractContextManager[object]:
        return nullcontext()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


class Captured(Engine):
    """Takes the steps of `run` by replaying two recordings. The last batch of an epoch, where it is smaller,
    and the first steps are taken as `Engine` does."""

    name = "captured"

    def __init__(self, run: Run, recorder: Recorder | None = None) -> None:
        super().__init__(run)
        self.recorder = recorder or Graphs(run.device, self.noise)
        self.parameters = [p for p in run.model.parameters() if p.requires_grad]
        self._gradients: list[Tensor | None] = []
        # A GPU's optimiser takes it as float32, a CPU's as float64.
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
        """Whether steps are replayed by now."""
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
        # They lie in the recording's memory, which is written anew at every replay.
        self._gradients = [parameter.grad for parameter in self.parameters]
        self._replay = forward, self.recorder.record(self._optimise)

    def _again(self, forward: Callable[[], None], optimise: Callable[[], None]) -> None:
        run = self.run
        self.set_learning_rate()
        # An update and an eager step take them away.
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
        """To be recorded: the next batch, forward and backward into new gradients."""
        assert self._plan is not None
        for parameter in self.parameters:
            parameter.grad = None
        x, y = self.batch(self._images, self._plan.at(self.places + self.cursor))
        self.cursor += len(self.places)
        self.backward(x, y)

    def _optimise(self) -> None:
        """To be recorded: the optimiser's step between two hooks that mask. Counting it is not part of it."""
        count = self.run.sparsifier.step_count
        self.run.optimizer.step()
        self.run.sparsifier.step_count = count
