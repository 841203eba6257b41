"""One run in one process, and the process that does one run after another for `runner`."""

from __future__ import annotations

import errno
import os
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Event, RLock, Semaphore, Thread, local
from typing import Any, Literal, Protocol

import torch
from filelock import Timeout
from tqdm.auto import tqdm

from rigl.campaign import journal
from rigl.training import records
from rigl.training.config import OneLineError, RunConfig
from rigl.training.devices import use_threads
from rigl.training.estimate import kind
from rigl.training.train import Interrupted, Stop, checkpoint_of, train

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
    lanes: int = 1,
    engine: str = "auto",
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
    options |= {"tracker": tracker, "lanes": lanes, "engine": engine}
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


class Told(Protocol):
    """Whether a run was told to stop, such as a threading.Event."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Warned:
    """A warning that a run gave."""

    text: str


@dataclass(frozen=True)
class Order:
    """A run for a worker: how long an epoch should take, and how long the worker has, both in seconds;
    `tracker`, `lanes` and `engine` as for `rigl.train`."""

    config: RunConfig
    masks: bool = False
    epoch: float | None = None
    left: float | None = None
    tracker: str | None = None
    lanes: int = 1
    engine: str = "auto"


def worker(lines: Sequence[Connection], results: str, device: str, data: str, workers: int) -> None:
    """Do the runs that come over `lines`, one at a time over each, until the runner ends this process or dies
    itself.

    Sends "ready" over each, then for every order ``(epochs done, epochs in all)`` before each epoch, warnings
    as `Warned`, and at last a `Result`. "stop" ends a run after its epoch; a runner that is gone ends this
    process at once. So does a run that died of something unforeseen, which may have left anything behind.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach all processes at once: the runner decides
        signal.signal(number, signal.SIG_IGN)
    tqdm.set_lock(RLock())  # its own, for several processes, would be reported as leaked after a kill
    threads = max(1, torch.get_num_threads() // (workers * len(lines)))
    mine = local()

    def warned(message: Warning | str, *_: Any, **__: Any) -> None:
        with suppress(OSError, AttributeError):  # the runner has let go of the line; a thread of no run
            mine.line.send(Warned(str(message)))

    warnings.showwarning = warned
    paces: dict[Any, float] = {}
    open_lines = Semaphore(len(lines) - 1)

    def serve(line: Connection) -> None:
        use_threads(threads)
        mine.line = line
        orders: SimpleQueue[Order] = SimpleQueue()
        stopping = Event()
        Thread(target=_listen, args=(line, orders, stopping, open_lines), daemon=True).start()
        line.send("ready")
        sound = True
        while sound:
            order = orders.get()
            stop = until(order, stopping, paces, lambda done, total: line.send((done, total)))
            result = run_one(
                order.config,
                results=results,
                device=device,
                data=data,
                masks=order.masks,
                stop=stop,
                tracker=order.tracker,
                lanes=order.lanes,
                engine=order.engine,
            )
            line.send(result)
            sound = result.sound
        if len(lines) > 1:
            os._exit(1)  # the other lanes' runs go on in a new process

    for line in lines[1:]:
        Thread(target=serve, args=(line,), daemon=True).start()
    serve(lines[0])


def _listen(line: Connection, orders: SimpleQueue[Order], stopping: Event, others: Semaphore) -> None:
    while True:
        try:
            said = line.recv()
        except (EOFError, OSError):
            if others.acquire(blocking=False):
                return
            os._exit(1)  # as by kill -9: what a run needs is in its last checkpoint
        if said == "stop":
            stopping.set()
        else:
            orders.put(said)


def until(order: Order, stopping: Told, paces: dict[Any, float], tell: Callable[[int, int], None]) -> Stop:
    """Whether to stop before the next epoch: when told to, or when that epoch would not be done in time.

    `paces` are seconds a step of runs of each kind, kept for the next order.
    """
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
