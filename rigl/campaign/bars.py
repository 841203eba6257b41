"""Progress bars of a campaign: one overall, one per worker, and a line for every run that ends."""

from __future__ import annotations

import time
from typing import Any

from tqdm.auto import tqdm

from rigl.training.estimate import duration

ALL = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left"
EACH = "{desc} {n_fmt}/{total_fmt} epochs|{bar}| {remaining} left"


class Bars:
    """Progress in FLOPs, initially `done` of `total`. `show` is `progress` of `rigl.train`."""

    def __init__(self, total: float, done: float, workers: int, show: bool | None) -> None:
        self.total, self.done, self._first = total, done, done
        self._began: float | None = None
        disable = None if show is None else not show
        self._look = {"disable": disable, "dynamic_ncols": True, "smoothing": 0}
        self._all = tqdm(
            total=total or 1.0, initial=done, desc="all runs", position=0, bar_format=ALL, **self._look
        )
        self._each: list[Any] = []
        self._idle = [self._add() for _ in range(workers)]

    def _add(self) -> Any:
        place = 1 + len(self._each)
        bar = tqdm(total=1, desc="idle", position=place, bar_format=EACH, leave=False, **self._look)
        self._each.append(bar)
        return bar

    def begin(self, name: str, epochs: int, done: int) -> Any:
        """The bar of a run that starts; its `n` is the number of completed epochs.

        It is that of an idle worker, or a new one: a cluster may add workers at any time.
        """
        if self._began is None:  # leave out the time that worker processes take to start
            self._began, self._all.start_t = time.monotonic(), time.time()
        bar = self._idle.pop(0) if self._idle else self._add()
        bar.set_description_str(name, refresh=False)
        bar.reset(total=epochs)
        bar.initial = bar.n = done
        return bar

    def idle(self, bar: Any) -> None:
        """The worker of a bar is idle."""
        bar.set_description_str("idle", refresh=False)
        bar.reset(total=1)
        self._idle.append(bar)

    def work(self, total: float, done: float, text: str) -> None:
        """Set the total and the completed work, and the text of the overall bar."""
        self.total, self.done = total, min(done, total)
        self._all.n = self.done
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
