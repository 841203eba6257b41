"""One run in one process, and the process that does one run after another for `runner`."""

from __future__ import annotations

import errno
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Event, RLock, Thread
from typing import Any, Literal

import torch
from filelock import Timeout
from tqdm.auto import tqdm

from rigl import records
from rigl.campaign import journal
from rigl.campaign.clock import kind
from rigl.config import OneLineError, RunConfig
from rigl.training import Interrupted, Stop, checkpoint_of, train

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class Result:
    """How far a run came.

    outcome   "finished" or "diverged" (its record is there), "stopped" (it was told to), "busy" (another
              process trains it) or "failed"
    accuracy  on the test images, percent
    no_room   whether it failed since the disk is full, as any other run now would
    sound     whether this process can be trusted with another run
    """

    outcome: Literal["finished", "diverged", "stopped", "busy", "failed"]
    accuracy: float | None = None
    error: str | None = None
    no_room: bool = False
    sound: bool = True


def run_one(
    config: RunConfig,
    *,
    results: str | Path = "results",
    device: str = "auto",
    data: str | Path | None = None,
    masks: bool = False,
    stop: Stop | None = None,
    tracker: str | None = None,
) -> Result:
    """Train `config` as `rigl.train` does, unless another process does, and say how far it came.

    Nothing that a run dies of is raised: it is in the result, and in the folder's journal.
    """
    path = records.path_of(config, results)
    trained = checkpoint_of(config, results).exists() and not path.exists()

    def asked(done: int, total: int) -> bool:
        nonlocal trained
        if stop is not None and stop(done, total):
            return True
        if not began:
            journal.note(results, "start", config.name, epoch=done)
            began.append(done)
        trained = True
        return False

    began: list[int] = []
    options: dict[str, Any] = {"results": results, "device": device, "data": data, "masks": masks}
    options |= {"tracker": tracker}
    try:
        record = train(config, **options, progress=False, stop=asked, wait=False)
    except Timeout:
        return Result("busy")
    except Interrupted:
        if trained:
            journal.note(results, "stop", config.name)
        return Result("stopped")
    except Exception as error:  # whatever a run dies of, the others go on
        text = " ".join(f"{type(error).__name__}: {error}".split())
        journal.note(results, "fail", config.name, error=text)
        no_room = isinstance(error, OSError) and error.errno in NO_ROOM
        return Result("failed", error=text, no_room=no_room, sound=isinstance(error, OneLineError))
    if trained:
        journal.note(results, "finish", config.name, status=record.status)
    return Result(record.status, accuracy=record.test_accuracy)


@dataclass(frozen=True)
class Warned:
    """A warning that a run gave."""

    text: str


@dataclass(frozen=True)
class Order:
    """A run for a worker: how long an epoch should take, and how long the worker has, both in seconds."""

    config: RunConfig
    masks: bool = False
    epoch: float | None = None
    left: float | None = None


def worker(
    line: Connection, results: str, device: str, data: str, workers: int, tracker: str | None = None
) -> None:
    """Do the runs that come over `line`, one at a time, until the runner ends this process or dies itself.

    Sends "ready", then for every order ``(epochs done, epochs in all)`` before each epoch, warnings as
    `Warned`, and at last a `Result`. "stop" ends a run after its epoch; a runner that is gone ends this
    process at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach all processes at once: the runner decides
        signal.signal(number, signal.SIG_IGN)
    orders: SimpleQueue[Order] = SimpleQueue()
    stopping = Event()
    Thread(target=_listen, args=(line, orders, stopping), daemon=True).start()
    tqdm.set_lock(RLock())  # its own, for several processes, would be reported as leaked after a kill
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    warnings.showwarning = lambda message, *_, **__: line.send(Warned(str(message)))
    paces: dict[Any, float] = {}
    line.send("ready")
    while True:
        order = orders.get()
        stop = _stop(order, stopping, paces, lambda done, total: line.send((done, total)))
        result = run_one(
            order.config,
            results=results,
            device=device,
            data=data,
            masks=order.masks,
            stop=stop,
            tracker=tracker,
        )
        line.send(result)
        if not result.sound:
            return


def _listen(line: Connection, orders: SimpleQueue[Order], stopping: Event) -> None:
    while True:
        try:
            said = line.recv()
        except (EOFError, OSError):
            os._exit(1)  # as by kill -9: what a run needs is in its last checkpoint
        if said == "stop":
            stopping.set()
        else:
            orders.put(said)


def _stop(order: Order, stopping: Event, paces: dict[Any, float], tell: Callable[[int, int], None]) -> Stop:
    """Whether to stop before the next epoch: when told to, or when that epoch would not be done in time."""
    end = None if order.left is None else time.monotonic() + order.left
    key, steps = kind(order.config), order.config.steps_per_epoch
    last: list[float] = []

    def stop(done: int, total: int) -> bool:
        now = time.monotonic()
        if last:
            paces[key] = (now - last[-1]) / steps
        last.append(now)
        tell(done, total)
        epoch = paces[key] * steps if key in paces else order.epoch or 0.0
        return stopping.is_set() or (end is not None and now + 1.1 * epoch > end)

    return stop
