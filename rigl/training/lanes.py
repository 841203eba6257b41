"""Several concurrent runs on one device, as threads of one process that share the data.

A small network leaves most of a GPU idle. Each run has its own engine, generators and, if captured, stream,
and gives the same record as alone.
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
    """Call `rigl.train` for each of `configs`, in order and up to `lanes` at a time; `options` are its
    options.

    If a run fails, the others finish before its error is raised. An interrupt stops all of them after their
    current epoch. Raises ConfigError for lanes below 1.
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
