"""Several runs at once on one device: threads of one process, that share the data.

A small network leaves most of a GPU idle. Each run has an engine and generators of its own, a recorded one
also a stream, and gives the record that it would give alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import torch

from rigl.training.config import ConfigError, RunConfig
from rigl.training.devices import use_threads
from rigl.training.records import Record
from rigl.training.train import train


def train_lanes(configs: Sequence[RunConfig], *, lanes: int, **options: Any) -> list[Record]:
    """`rigl.train` for each of `configs`, up to `lanes` of them at a time, in their order; `options` as
    there.

    Where one fails the others go on to their end, and then its error is raised; an interrupt stops all of
    them after their epoch. Raises ConfigError for lanes below 1.
    """
    if lanes < 1:
        raise ConfigError(f"lanes={lanes} must be at least 1")
    asked, interrupted = options.pop("stop", None), Event()

    def stop(done: int, total: int) -> bool:
        return interrupted.is_set() or (asked is not None and asked(done, total))

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(lanes, initializer=use_threads, initargs=(threads,)) as pool:
        runs = [pool.submit(train, config, stop=stop, lanes=lanes, **options) for config in configs]
        try:
            failed = [error for run in runs if (error := run.exception()) is not None]
        except BaseException:
            interrupted.set()
            for run in runs:
                run.cancel()
            raise
    if failed:
        raise failed[0]
    return [run.result() for run in runs]
