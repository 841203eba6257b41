"""Runs done by the workers of a Dask cluster (``distributed``), wherever these are.

The runner chooses, as on one machine: each worker has one run at a time. Dask starts workers, watches them
and carries what goes to and fro. A worker that sees the campaign's own folder of results writes there, and
holds the run's lock itself. Else the run's files travel with the task, come back with its report and are
written here, where the lock is held meanwhile.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import torch
from distributed import Client, Future, KilledWorker
from distributed.deploy.adaptive import Adaptive
from filelock import FileLock, Timeout

from rigl.campaign import journal, processes, remote, where
from rigl.campaign.crew import Gone, Lane, WorkerError
from rigl.campaign.remote import Place, Report, Task
from rigl.campaign.where import GPU, Where
from rigl.campaign.work import NO_ROOM, Order, Result, Warned
from rigl.training import provenance
from rigl.training.config import RunConfig
from rigl.training.records import Record, RecordError, path_of, write_whole
from rigl.training.train import checkpoint_of, epochs_done, lock_of

# How often to look which workers there are, in seconds.
LOOK = 0.5
# What a worker has said is ready to be fetched comes within so many seconds, or the worker is gone.
FETCH = 300.0
CONNECT = 10.0


def join(
    text: str, *, results: str | Path, devices: Sequence[str], data: str | Path | None = None
) -> Cluster:
    """The workers of the cluster that `text` names, as `rigl.campaign.where.parse` reads it.

    On devices "cuda" runs go to workers that have ``{"GPU": 1}`` among their resources, and ask for it; so do
    runs on "auto" on such workers. Without `data` each worker looks for data sets where it does by itself.
    Raises ConfigError for a `text` that names no cluster, WorkerError where it cannot be reached.
    """
    place = where.parse(text)
    if place.local and list(devices) in (["auto"], ["cuda"]) and torch.cuda.is_available():
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    with processes.held():  # Ctrl-C reaches a whole group of processes: it is for this one alone
        begun = where.connect(place, devices)
        try:
            client = Client(begun, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise WorkerError(f"no Dask scheduler is to be had at {text} ({reason})") from None
    folder = Path(results).resolve()
    cluster = Cluster(client, place, folder, list(devices), str(Path(data).resolve()) if data else None)
    if place.slurm:
        low, high = place.jobs
        begun.adapt(Adaptive=_adaptive(cluster), minimum_jobs=low, maximum_jobs=high)
    return cluster


def _adaptive(cluster: Cluster) -> type[Adaptive]:
    """Dask's own judges by tasks that wait at the scheduler, where none of these ever do."""

    class Wanted(Adaptive):
        async def target(self) -> int:
            return cluster.wanted

    return Wanted


@dataclass(eq=False)
class DaskLane:
    """A worker, and the task that it has."""

    cluster: Cluster
    address: str
    place: Place
    device: str
    gpu: bool
    key: str = ""
    order: Order | None = None
    future: Future[Any] | None = None
    lock: FileLock | None = None
    began: bool = False
    gone: bool = False

    def send(self, order: Order) -> None:
        self.cluster.begin(self, order)

    def stop(self) -> None:
        if self.key:
            self.cluster.tell(self, remote.stop, self.key)

    def kill(self) -> None:
        """Nothing ends a thread of a worker that is not ours: its run stops after its epoch, since nobody
        waits for it any more."""
        self.stop()
        self.cluster.drop(self, "when it was told to stop at once")

    def close(self) -> None:
        self.cluster.leave(self)


@dataclass(eq=False)
class Cluster:
    """The workers of a scheduler, as lanes. `wanted` is how many runs could be done at once."""

    client: Client
    place: Where
    results: Path
    devices: list[str]
    data: str | None
    wanted: int = 1
    _topic: str = field(default_factory=lambda: f"rigl-{uuid4().hex}")
    _said: SimpleQueue[tuple[str, Any]] = field(default_factory=SimpleQueue)
    _greeted: dict[str, Future[Any]] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _gpus: dict[str, bool] = field(default_factory=dict)
    _lanes: dict[str, DaskLane] = field(default_factory=dict)
    _next_look: float = 0.0

    def __post_init__(self) -> None:
        (self.results / ".checkpoints").mkdir(parents=True, exist_ok=True)
        journal.note(self.results, "cluster", self._topic, cluster=self.place.text)
        self.client.subscribe_topic(self._topic, self._on_event)

    @property
    def count(self) -> int:
        return len(self._places)

    def want(self, runs: int) -> None:
        self.wanted = runs

    def start(self, index: int) -> DaskLane:
        address = next(address for address in self._places if address not in self._lanes)
        device = self.devices[index % len(self.devices)]
        lane = DaskLane(self, address, self._places[address], device, self._gpus[address])
        self._lanes[address] = lane
        self._said.put((address, "ready"))
        return lane

    def hear(self, seconds: float) -> list[tuple[Lane | None, Any]]:
        heard: list[tuple[Lane | None, Any]] = []
        if time.monotonic() >= self._next_look:
            self._look()
            self._next_look = time.monotonic() + LOOK
        with suppress(Empty):
            key, said = self._said.get(timeout=seconds)
            while True:
                heard += self._understand(key, said)
                key, said = self._said.get_nowait()
        return heard

    def begin(self, lane: DaskLane, order: Order) -> None:
        """Send a run to a lane's worker."""
        config = order.config
        lane.key, lane.order, lane.began = f"rigl-{config.name}-{uuid4().hex}", order, False
        files, epochs = {}, 0
        if not lane.place.shared:
            lane.lock = FileLock(lock_of(config, self.results))
            try:
                lane.lock.acquire(timeout=0)
            except Timeout:
                self._said.put((lane.key, Report(Result("busy"))))
                return
            files, epochs = remote.inputs(config, self.results), epochs_done(config, self.results)
        task = Task(lane.key, self._topic, order, lane.place, lane.device, self.data, files, epochs)
        lane.future = self._submit(lane.address, remote.do, task, key=lane.key)

    def tell(self, lane: DaskLane, what: Any, *arguments: Any, wait: bool = False) -> None:
        """Have a worker do something at once, beside the run that it does; `wait` unless that is async."""
        with suppress(Exception):  # it may be gone
            self.client.run(what, *arguments, workers=[lane.address], wait=wait, on_error="ignore")

    def drop(self, lane: DaskLane, how: str) -> None:
        """Give up what a lane's worker does."""
        self._said.put((lane.key or lane.address, Gone(how, anew=not lane.place.shared)))
        lane.gone = True
        self._release(lane)

    def leave(self, lane: DaskLane) -> None:
        """Let a lane go. A worker that is not gone is not to be trusted: it is not given another."""
        self._release(lane)
        self._lanes.pop(lane.address, None)
        if not lane.gone:
            del self._places[lane.address]
            self._refused.add(lane.address)
            with suppress(Exception):  # without a nanny to restart it, it is just left alone
                self.client.restart_workers([lane.address], timeout=CONNECT, raise_for_error=False)

    def close(self) -> None:
        for lane in self._lanes.values():
            self._release(lane)
        with suppress(Exception):  # whatever Dask says to a scheduler that is gone
            self.client.close(timeout=5)
        if self.client.cluster is not None:
            with suppress(Exception):
                self.client.cluster.close(timeout=10)

    def _look(self) -> None:
        """See which workers have come and which have gone."""
        try:
            there = self.client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, RuntimeError, CancelledError, KeyError):  # as it is noticed sooner or later
            raise WorkerError(f"the Dask scheduler of {self.place.text} is gone") from None
        need = any(device.startswith("cuda") for device in self.devices)
        known = {*self._places, *self._refused, *self._greeted}
        for address, worker in there.items():
            gpu = worker["resources"].get(GPU, 0) >= 1
            if address not in known and (gpu or not need):
                self._gpus[address] = gpu and self.devices != ["cpu"]
                self._greeted[address] = self._submit(
                    address, remote.hello, str(self.results), self._topic, key=f"rigl-hello-{uuid4().hex}"
                )
        for address in known - set(there):
            self._greeted.pop(address, None)
            self._refused.discard(address)
            self._places.pop(address, None)
            if lane := self._lanes.get(address):
                self.drop(lane, f"or was cut off ({address})")

    def _submit(self, address: str, what: Any, *arguments: Any, key: str) -> Future[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a checkpoint is large, for once
            future = self.client.submit(
                what,
                *arguments,
                key=key,
                pure=False,
                workers=[address],
                resources={GPU: 1} if self._gpus[address] else None,
            )
        future.add_done_callback(self._on_done)
        return future

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        self._said.put((message["key"], message))

    def _on_done(self, future: Future[Any]) -> None:
        """In a thread of Dask's: fetching takes a while, and for ever where the worker has just died."""
        said: Any
        try:
            said = future.result(timeout=FETCH)
        except CancelledError:
            return
        except Exception as error:  # whatever became of it
            said = error
        self._said.put((str(future.key), said))

    def _understand(self, key: str, said: Any) -> list[tuple[Lane | None, Any]]:
        """What a message says of which lane."""
        for address, future in self._greeted.items():
            if future.key == key:
                return self._welcome(address, said)
        lane = next((each for each in self._lanes.values() if key in (each.key, each.address)), None)
        if lane is None:
            return []  # of a task that was given up
        if isinstance(said, dict):
            if "warned" in said:
                return [(lane, Warned(said["warned"]))]
            done, total = said["epochs"]
            if not lane.began:
                lane.began = True
                self._note(lane, "start", epoch=done)
            return [(lane, (done, total))]
        if isinstance(said, KilledWorker | TimeoutError):
            lane.gone = True
            said = Gone(f"again and again ({lane.address})", anew=not lane.place.shared)
        elif isinstance(said, Exception):
            said = Report(Result("failed", error=f"{type(said).__name__}: {' '.join(str(said).split())}"))
        if isinstance(said, Report):
            result = self._keep(lane, said)
            self._release(lane)
            return [(lane, result)]
        return [(lane, said)]

    def _welcome(self, address: str, said: Any) -> list[tuple[Lane | None, Any]]:
        """A worker has said where it keeps its results, or cannot."""
        del self._greeted[address]
        if isinstance(said, Place):
            self._places[address] = said
            mine = provenance.versions()
            other = [
                f"{name} {v} (here {mine.get(name)})"
                for name, v in said.versions.items()
                if v != mine.get(name)
            ]
            return [(None, Warned(f"the worker at {address} has {', '.join(other)}"))] if other else []
        self._refused.add(address)
        text = f"the worker at {address} is of no use: {type(said).__name__}: {said}"
        if not self._places and not self._greeted:
            raise WorkerError(" ".join(text.split()))
        return [(None, Warned(text))]

    def _keep(self, lane: DaskLane, report: Report) -> Result:
        """Write what a run left on another file system, and into the journal how it ended."""
        result, order = report.result, lane.order
        if lane.place.shared or order is None:
            return result
        config = order.config
        try:
            _write(report.files, config, self.results, result)
        except (OSError, RecordError, ValueError) as error:
            no_room = isinstance(error, OSError) and error.errno in NO_ROOM
            text = " ".join(f"{type(error).__name__}: {error}".split())
            result = Result("failed", error=text, no_room=no_room)
        if result.outcome == "failed":
            self._note(lane, "fail", error=result.error)
        elif result.outcome == "stopped":
            if lane.began:
                self._note(lane, "stop")
        elif result.outcome != "busy":
            if lane.began:
                self._note(lane, "finish", status=result.outcome)
            self.tell(lane, remote.forget, config, lane.place.folder, wait=True)
        return result

    def _note(self, lane: DaskLane, event: str, **more: Any) -> None:
        """A line of the journal, unless the worker writes it itself."""
        if not lane.place.shared and lane.order is not None:
            journal.note(self.results, event, lane.order.config.name, worker=lane.address, **more)

    def _release(self, lane: DaskLane) -> None:
        """Forget the task that a lane has."""
        if lane.future is not None:
            with suppress(Exception):
                lane.future.cancel()
        if lane.lock is not None:
            lane.lock.release()
        lane.future = lane.lock = lane.order = None


def _write(files: remote.Files, config: RunConfig, results: Path, result: Result) -> None:
    """Write a run's files here. Raises OSError, and RecordError where the record is not this run's."""
    record = path_of(config, results).relative_to(results).as_posix()
    if result.outcome in ("finished", "diverged"):
        name = Record.model_validate_json(files[record]).name
        if name != config.name:
            raise RecordError(f"a worker sent the record {name} for {config.name}")
    elif result.outcome != "stopped":
        return
    for path in sorted(files, key=lambda path: path == record):
        write_whole(results / path, files[path])
    if record in files:
        checkpoint_of(config, results).unlink(missing_ok=True)
