"""Progress bars of a campaign: one overall, one per worker, and a line for every run that ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm

from rigl.training.estimate import duration

ALL = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left"
EACH = "{desc} {n_fmt}/{total_fmt} epochs|{bar}| {remaining} left"


@dataclass
class Bars:
    """Progress in FLOPs, initially `done` of `total`. `show` is `progress` of `rigl.train`."""

    total: float
    done: float
    workers: int
    show: bool | None
    _began: float | None = None
    _all: Any = None
    _each: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        look = self._look
        self._first = self.done
        self._all = tqdm(
            total=self.total or 1.0, initial=self.done, desc="all runs", position=0, bar_format=ALL, **look
        )
        for index in range(self.workers):
            self._one(index)

    @property
    def _look(self) -> dict[str, Any]:
        disable = None if self.show is None else not self.show
        return {"disable": disable, "dynamic_ncols": True, "smoothing": 0}

    def _one(self, index: int) -> Any:
        """The bar of worker `index`; workers of a cluster may be added at any time."""
        while index >= len(self._each):
            place = 1 + len(self._each)
            bar = tqdm(total=1, desc="idle", position=place, bar_format=EACH, leave=False, **self._look)
            self._each.append(bar)
        return self._each[index]

    def begin(self, index: int, name: str, epochs: int) -> None:
        """Worker `index` starts a run."""
        if self._began is None:  # leave out the time that worker processes take to start
            self._began, self._all.start_t = time.monotonic(), time.time()
        bar = self._one(index)
        bar.set_description_str(name, refresh=False)
        bar.reset(total=epochs)

    def epoch(self, index: int, done: int, first: bool) -> None:
        """Worker `index` has completed `done` epochs of its run, before this campaign if `first`."""
        bar = self._one(index)
        bar.initial = done if first else bar.initial
        bar.n = done

    def idle(self, index: int) -> None:
        """Worker `index` is idle."""
        self.begin(index, "idle", 1)

    def work(self, done: float, text: str) -> None:
        """Set the completed work and the text of the overall bar."""
        self.done = self._all.n = min(done, self.total)
        self._all.set_description_str(text, refresh=False)

    def refresh(self) -> None:
        for bar in (self._all, *self._each):
            bar.refresh()

    def left(self) -> str:
        """The remaining time in words at the pace so far; empty if there is none yet."""
        work = self.done - self._first
        if self._began is None or work <= 0:
            return ""
        gone = time.monotonic() - self._began
        return f"about {duration(gone * (self.total - self.done) / work)} left"

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        if self._all.disable:
            print(text, flush=True)
        else:
            self._all.write(text)

    def close(self) -> None:
        for bar in (*self._each, self._all):
            bar.close()
