"""Trains runs until all are done, the time limit is reached, or the user stops it.

A single worker is a plain loop in this process. Several workers are Dask's, on this machine or on a cluster;
a run's source is passed to it as a future. All persistent state is in the results folder: records,
checkpoints, and the lock of the process that trains a run, which the operating system releases when that
process dies.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import torch
from filelock import FileLock, Timeout

from rigl.campaign import status
from rigl.campaign.bars import Bars
from rigl.campaign.cluster import DEATHS, GPU, WorkerError, check, connect
from rigl.campaign.experiments import with_sources
from rigl.campaign.signals import heard
from rigl.campaign.status import State
from rigl.training import provenance
from rigl.training.config import ConfigError, OneLineError, RunConfig, shown
from rigl.training.data import data_root
from rigl.training.devices import use_threads
from rigl.training.estimate import Estimator, epoch_flops, kind
from rigl.training.records import write_whole, writing
from rigl.training.train import Interrupted, Options, Stop, train

if TYPE_CHECKING:
    from distributed import Client, Future

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
TIME_UP, NO_TIME = "the time is up", "no time for another epoch"
POLL = 0.5  # seconds between two checks of the time
LOOK = 2.0  # seconds between two checks of a run that another process trains

# State of a worker process: the topics of stopped campaigns, the seconds per step of each kind of run, and
# whether its GPU has failed.
STOPPED: set[str] = set()
PACES: dict[Any, float] = {}
BROKEN = threading.Event()
_MINE = threading.local()


@dataclass(frozen=True)
class Result:
    """The result of an attempt to train a run.

    outcome   "finished" or "diverged" (it has a record), "stopped", "busy" (another process trains it) or
              "failed"
    accuracy  on the test images, percent
    closes    the reason why all other runs would fail as well, which ends the campaign
    """

    outcome: Literal["finished", "diverged", "stopped", "busy", "failed"]
    accuracy: float | None = None
    error: str | None = None
    closes: str | None = None


@dataclass
class Outcome:
    """The outcome of a campaign: its runs by name, and why it ended early, if it did, and what to do."""

    done: list[str]
    left: list[str]
    failed: dict[str, str]
    reason: str | None = None
    advice: str = "rerun the same command to resume"

    @property
    def status(self) -> int:
        """The exit status: 0 all done, 1 some failed, 3 some left."""
        return 1 if self.failed else 3 if self.left else 0

    def lines(self) -> list[str]:
        """A summary."""
        found = [f"done: {len(self.done)} of {len(self.done) + len(self.left) + len(self.failed)} runs"]
        if self.left:
            found.append(f"left: {len(self.left)} ({self.reason}); {self.advice}")
        if self.failed:
            found += [f"failed: {len(self.failed)}", *(f"  {n}: {error}" for n, error in self.failed.items())]
        return found


def run_one(config: RunConfig, options: Options) -> Result:
    """Train `config` with `rigl.train`, unless another process does.

    Errors are not raised, but returned in the result and stored for `rigl.campaign.status`.
    """
    try:
        record = train(config, options, progress=False, wait=False)
    except Timeout:
        return Result("busy")
    except Interrupted:
        return Result("stopped")
    except Exception as error:  # the other runs continue
        text = " ".join(f"{type(error).__name__}: {error}".split())
        status.note_failure(config, options.results, text)
        closes = None
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            closes = "no space is left to write"
        elif not isinstance(error, OneLineError) and "CUDA error" in text:
            closes = "this process can no longer use the GPU"
        return Result("failed", error=text, closes=closes)
    status.failure_path(config, options.results).unlink(missing_ok=True)
    return Result(record.status, accuracy=record.test_accuracy)


def until(
    config: RunConfig,
    told: Callable[[], bool],
    tell: Callable[[int, int], None],
    *,
    epoch: float | None = None,
    end: float | None = None,
) -> Stop:
    """The `stop` of a run: stops if `told` returns True, or if the next epoch would end after `end`.

    `end` is a time of `time.time`; `epoch` is an initial estimate of an epoch's seconds. `tell` is called
    with the completed and the total epochs.
    """
    key, steps = kind(config), config.steps_per_epoch
    last: list[float] = []

    def stop(done: int, total: int) -> bool:
        now = time.time()
        if last:
            PACES[key] = (now - last[-1]) / steps
        last.append(now)
        takes = PACES[key] * steps if key in PACES else epoch or 0.0
        if told() or (end is not None and now + 1.1 * takes > end):
            return True
        tell(done, total)
        return False

    return stop


@dataclass
class Job:
    """The state of a run in this campaign.

    status    "left", "sent" (to a worker), "elsewhere" (another process trains it), "done" or "failed"
    masks     whether it is trained again only for its final masks
    place     the index of its progress bar while it is trained
    furthest  the most epochs completed so far; `before`, when it was sent
    starts    how often a worker received it since it was sent
    begun     how often a worker started to train it
    look      when to check again whether another process still trains it
    """

    config: RunConfig
    status: str
    epochs: int = 0
    masks: bool = False
    error: str | None = None
    place: int | None = None
    furthest: int = 0
    before: int = 0
    starts: int = 0
    begun: int = 0
    look: float = 0.0


@dataclass
class Campaign:
    """The state of a runner."""

    jobs: dict[str, Job]
    options: Options
    bars: Bars
    end: float | None = None
    estimate: Estimator | None = None
    closing: str | None = None
    said: set[str] = field(default_factory=set)
    begun: float | None = None  # when the first run started
    trained: bool = False  # whether an epoch was completed

    @property
    def over(self) -> bool:
        return all(job.status in ("done", "failed") for job in self.jobs.values())

    @property
    def late(self) -> bool:
        return self.end is not None and time.time() >= self.end

    def request_stop(self) -> None:
        """Stop after the current epochs."""
        self.closing = self.closing or "interrupted"
        self.bars.say("stopping after the current epochs; interrupt again to stop at once")

    def once(self, text: str) -> None:
        """Print a message, but only once."""
        if text not in self.said:
            self.said.add(text)
            self.bars.say(text)

    def epoch(self, config: RunConfig) -> float | None:
        """Estimated seconds of an epoch of `config`."""
        whole = self.estimate(config) if self.estimate else None
        return whole.seconds / config.total_epochs if whole else None

    def look(self, job: Job) -> None:
        """Update the state of a run that another process may train or have trained."""
        (state,) = status.look([job.config], self.options.results)
        on = status.running(job.config, self.options.results)
        job.epochs = state.epochs
        if state.status == "damaged":
            self.fail(job, str(state.error))
        elif on:
            job.status, job.look = "elsewhere", time.monotonic() + LOOK
        elif state.done and not job.masks:
            self.done(job, Result(state.status, state.accuracy), "trained elsewhere")  # type: ignore[arg-type]
        else:
            job.status = "left"

    def ready(self) -> Iterator[Job]:
        """The runs that can be started, in order. A run whose source failed fails here."""
        for job in self.jobs.values():
            if job.status == "elsewhere" and time.monotonic() >= job.look:
                self.look(job)
            source = self.jobs[job.config.source.name] if job.config.source else None
            if job.status == "left" and source and source.status == "failed":
                error = f"needs {source.config.name}, which failed"
                status.note_failure(job.config, self.options.results, error)
                self.fail(job, error)
            elif job.status == "left" and (not source or source.status in ("done", "sent")):
                yield job

    def begin(self, job: Job, epochs: int) -> None:
        """A worker has started a run, of which `epochs` are done."""
        taken = {other.place for other in self.jobs.values()}
        job.place = next(place for place in range(len(taken) + 1) if place not in taken)
        job.begun += 1
        self.begun = self.begun or time.time()
        self.bars.begin(job.place, _short(job.config), job.config.total_epochs)
        self.bars.epoch(job.place, epochs, True)

    def progress(self, job: Job, epochs: int) -> None:
        self.trained |= epochs > job.epochs
        job.epochs, job.furthest = epochs, max(epochs, job.furthest)
        if job.place is not None:
            self.bars.epoch(job.place, epochs, False)
        self.show()

    def end_of(self, job: Job, result: Result) -> None:
        """Handle the result of a run."""
        if job.place is not None:
            self.bars.idle(job.place)
            job.place = None
        if result.outcome in ("finished", "diverged"):
            self.trained |= job.begun > 0
            self.done(job, result, "" if job.begun else "trained elsewhere")
        elif result.outcome == "failed":
            self.fail(job, str(result.error))
        elif result.outcome == "busy":
            job.status, job.look = "elsewhere", time.monotonic() + LOOK
        else:
            job.status = "left"
            self.closing = self.closing or NO_TIME
        self.closing = self.closing or result.closes

    def done(self, job: Job, result: Result, note: str = "") -> None:
        job.status, job.epochs, job.masks = "done", job.config.total_epochs, False
        self.show()
        what = result.outcome if result.accuracy is None else f"{result.accuracy:.2f} %"
        text = ", ".join(filter(None, (what, note, self.bars.left())))
        self.bars.say(f"[{self.count}] {job.config.name}: {text}")

    def fail(self, job: Job, error: str) -> None:
        job.status, job.error = "failed", error
        self.show()
        self.bars.say(f"[{self.count}] {job.config.name} FAILED: {error}")

    def show(self) -> None:
        self.bars.total, done = _work(self.jobs)
        self.bars.work(done, f"{self.count} runs")

    def too_short(self, began: float, limit: float) -> dict[str, str]:
        """The outcome's advice if no epoch was completed within a time limit of `limit` seconds."""
        if self.trained or self.closing not in (TIME_UP, NO_TIME):
            return {}
        start = f"of which starting up took {(self.begun or time.time()) - began:.0f} s"
        return {"advice": f"no epoch fits into the time limit of {limit:g} s, {start}: give a longer one"}

    @property
    def count(self) -> str:
        return f"{sum(job.status == 'done' for job in self.jobs.values())}/{len(self.jobs)}"


def run(
    configs: Sequence[RunConfig],
    options: Options | None = None,
    *,
    workers: int = 1,
    lanes: int = 1,
    cluster: str | None = None,
    time_limit: float | None = None,
    begun: float | None = None,
    estimate: Estimator | None = None,
    **changes: Any,
) -> Outcome:
    """Train `configs` and their sources, in order.

    options     as for `rigl.train`, also as `changes`, its fields by name; but `device` may name several,
                separated by commas, which are assigned to workers in turn
    workers     number of processes, which share the CPU threads
    lanes       concurrent runs per process, as threads that share a GPU
    cluster     a Dask cluster instead of workers: see `rigl.campaign.cluster.connect`
    time_limit  seconds from `begun` (a time of `time.monotonic`; default: now) in which to stop. A run stops
                after an epoch if the next would not end in time; at the limit, it loses its current epoch
    estimate    estimates how long a run takes, so that no run is started whose first epoch would end too late

    Finished runs are not repeated; for a run that another process trains, the campaign waits. Ctrl-C or
    SIGTERM stops every run after its current epoch, a second one at once. If a run fails, the others
    continue, except when the disk is full. Raises ConfigError for invalid arguments, WriteError, and
    WorkerError if no worker is available.
    """
    options = replace(options or Options(), **changes)
    begin = time.time() if begun is None else time.time() - (time.monotonic() - begun)
    here = cluster is None and workers * lanes == 1
    if not here:
        check(cluster)
    if cluster is not None and "," in options.device:
        raise ConfigError(
            f"device={shown(options.device)}: give one device with a cluster: every worker uses it"
        )
    folder = Path(options.results).resolve()
    with writing(folder / ".checkpoints"):
        (folder / ".checkpoints").mkdir(parents=True, exist_ok=True)
    jobs = {state.config.name: _job(state) for state in status.look(with_sources(configs), folder)}
    data = options.data
    where = str(data_root(data)) if cluster is None else data and str(Path(data).resolve())
    campaign = Campaign(
        jobs=jobs,
        options=replace(options, results=folder, data=where, progress=None),
        bars=Bars(*_work(jobs), 0 if cluster else workers * lanes, options.progress),
        # Leave time for processes to end.
        end=None if time_limit is None else begin + time_limit - min(10.0, 0.1 * time_limit),
        estimate=estimate,
    )
    try:
        if here:
            _alone(campaign)
        else:
            _together(campaign, cluster, workers, lanes)
    finally:
        campaign.bars.close()
    return Outcome(
        done=[name for name, job in jobs.items() if job.status == "done"],
        left=[name for name, job in jobs.items() if job.status not in ("done", "failed")],
        failed={name: str(job.error) for name, job in jobs.items() if job.status == "failed"},
        reason=campaign.closing,
        **({} if time_limit is None else campaign.too_short(begin, time_limit)),
    )


def _alone(campaign: Campaign) -> None:
    """Train one run after another in this process."""
    options = replace(campaign.options, device=campaign.options.device.split(",")[0])
    after = None if campaign.end is None else campaign.end - time.time()
    try:
        with _warnings_to(campaign.bars.say), heard(campaign.request_stop, after):
            while not (campaign.closing or campaign.over):
                job = next(campaign.ready(), None)
                if job is None:
                    campaign.once("waiting for runs that other processes train")
                    time.sleep(POLL)
                    continue

                def tell(done: int, _: int, job: Job = job) -> None:
                    if job.place is None:
                        campaign.begin(job, done)
                    campaign.progress(job, done)
                    campaign.bars.refresh()

                stop = until(
                    job.config,
                    lambda: campaign.closing is not None,
                    tell,
                    epoch=campaign.epoch(job.config),
                    end=campaign.end,
                )
                campaign.end_of(job, run_one(job.config, replace(options, masks=job.masks, stop=stop)))
    except KeyboardInterrupt:
        campaign.closing = TIME_UP if campaign.late else campaign.closing or "interrupted"
    if campaign.late and not campaign.over:
        campaign.closing = campaign.closing or TIME_UP


@dataclass(frozen=True)
class Task:
    """A run for a worker, which reports its progress under `topic`.

    folder      identifies the results folder, to detect another machine's folder of the same path
    epoch, end  as for `until`
    devices     a local worker uses the one with its own index
    threads     CPU threads; None divides the cores by the worker's number of threads
    """

    name: str
    topic: str
    folder: str
    config: RunConfig
    options: Options
    epoch: float | None
    end: float | None
    devices: tuple[str, ...]
    threads: int | None


def _together(campaign: Campaign, cluster: str | None, workers: int, lanes: int) -> None:
    """Train runs as Dask tasks."""
    device = campaign.options.device
    devices = tuple(device.split(","))
    if cluster is None and devices in (("auto",), ("cuda",)) and torch.cuda.device_count() > 1:
        devices = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    threads = max(1, torch.get_num_threads() // (workers * lanes)) if cluster is None else None
    with (
        heard(campaign.request_stop),
        connect(cluster, workers=workers, lanes=lanes, device=device) as client,
    ):
        sender = Sender(campaign, client, devices, threads, cluster, 1 / lanes)
        with suppress(KeyboardInterrupt):
            while sender.go_on():
                pass
        sender.end()


class Sender:
    """Submits runs to Dask workers and handles their messages."""

    def __init__(
        self,
        campaign: Campaign,
        client: Client,
        devices: tuple[str, ...],
        threads: int | None,
        cluster: str | None,
        share: float,
    ) -> None:
        self.campaign, self.client, self.topic = campaign, client, f"rigl-{uuid4().hex}"
        mark = _mark(campaign.options.results)
        with writing(mark), FileLock(mark.with_suffix(".lock")):  # another campaign may start here too
            if not mark.exists():
                write_whole(mark, uuid4().hex.encode())
            self.folder = mark.read_text()
        self.devices, self.threads, self.cluster = devices, threads, cluster
        on_gpu = cluster is not None and devices[0].startswith("cuda")
        self.resources = {GPU: share} if on_gpu else None
        self.futures: dict[str, Future[Result]] = {}
        self.heard: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.versions = provenance.versions()
        self.sent, self.stopped = time.monotonic(), False
        client.subscribe_topic(self.topic, lambda event: self.heard.put(("event", event[1])))

    def go_on(self) -> bool:
        """Submit runs and handle messages; returns False when there is nothing more to do."""
        campaign = self.campaign
        if self.client.status != "running":
            raise WorkerError(f"the Dask scheduler at {self.cluster or 'this machine'} is gone")
        if campaign.late:
            campaign.closing = campaign.closing or TIME_UP
            return False
        if campaign.closing:
            self._stop()
        else:
            for job in campaign.ready():
                self._send(job)
        if campaign.over or (campaign.closing and not self.futures):
            return False
        self._say_why_waiting()
        try:
            kind_of, said = self.heard.get(timeout=POLL)
            while True:
                self._event(said) if kind_of == "event" else self._end(*said)
                kind_of, said = self.heard.get_nowait()
        except Empty:
            pass
        campaign.bars.refresh()
        return True

    def end(self) -> None:
        """Cancel runs that have not ended, and kill local worker processes."""
        if self.futures:
            with suppress(Exception):
                self.client.cancel(list(self.futures.values()), force=True)
            for nanny in getattr(self.client.cluster, "workers", {}).values():
                if pid := getattr(nanny, "pid", None):
                    nanny.auto_restart = False
                    with suppress(ProcessLookupError):
                        os.kill(pid, 9)

    def _send(self, job: Job) -> None:
        name = job.config.name
        source = self.futures.get(job.config.source.name) if job.config.source else None
        task = Task(
            name=name,
            topic=self.topic,
            folder=self.folder,
            config=job.config,
            options=replace(self.campaign.options, masks=job.masks),
            epoch=self.campaign.epoch(job.config),
            end=self.campaign.end,
            devices=self.devices,
            threads=self.threads,
        )
        future = self.client.submit(
            work,
            task,
            source,
            key=f"{name}-{uuid4().hex}",
            priority=-list(self.campaign.jobs).index(name),
            resources=self.resources,
            pure=False,
        )
        job.status, job.before, job.starts = "sent", job.furthest, 0
        self.sent = time.monotonic()
        self.futures[name] = future
        future.add_done_callback(lambda done: self.heard.put(("end", (name, done))))

    def _stop(self) -> None:
        """Stop the current runs after their epoch, and cancel the others."""
        if self.stopped:
            return
        self.stopped = True
        waiting = [name for name in self.futures if self.campaign.jobs[name].place is None]
        self.client.cancel([self.futures.pop(name) for name in waiting], force=True)
        for name in waiting:
            self.campaign.jobs[name].status = "left"
        self.client.run(tell_to_stop, self.topic, wait=False)

    def _event(self, said: dict[str, Any]) -> None:
        job = self.campaign.jobs[said["name"]]
        if "warned" in said:
            self.campaign.bars.say(said["warned"])
        elif "epochs" not in said:
            job.starts += 1
        elif said.get("versions", self.versions) != self.versions:
            theirs = ", ".join(f"{k} {v}" for k, v in said["versions"].items() if v != self.versions.get(k))
            self.campaign.once(f"the worker {said['worker']} has other versions: {theirs}")
        if "epochs" not in said or job.config.name not in self.futures:
            return
        epochs = int(said["epochs"])
        if said["first"]:
            again, job.place = job.place, None
            if again is not None:
                self.campaign.bars.idle(again)
            if job.begun:
                now = f"resumes after epoch {epochs}" if epochs else "begins anew"
                self.campaign.bars.say(f"the worker of {job.config.name} died: its run {now}")
            self.campaign.begin(job, epochs)
        self.campaign.progress(job, epochs)

    def _end(self, name: str, future: Future[Result]) -> None:
        if self.futures.get(name) is not future:
            return
        from distributed import KilledWorker

        job = self.campaign.jobs[name]
        del self.futures[name]
        try:
            result: Result = future.result(timeout=60)
        except KilledWorker:
            if not job.starts or job.furthest > job.before:  # it was only queued there, or it makes progress
                job.status, place, job.place = "left", job.place, None
                if place is not None:
                    self.campaign.bars.idle(place)
                return
            result = Result("failed", error=f"its worker died, {DEATHS} times without an epoch in between")
            status.note_failure(job.config, self.campaign.options.results, str(result.error))
        except BaseException as error:  # such as a worker that cannot import this code
            if isinstance(error, KeyboardInterrupt):
                raise
            result = Result("failed", error=" ".join(f"{type(error).__name__}: {error}".split()))
        self.campaign.end_of(job, result)

    def _say_why_waiting(self) -> None:
        jobs = self.campaign.jobs.values()
        if all(job.status in ("done", "failed", "elsewhere") for job in jobs):
            self.campaign.once("waiting for runs that other processes train")
        elif self.futures and time.monotonic() > self.sent + LOOK and not any(job.starts for job in jobs):
            self.campaign.once("waiting for workers of the cluster")


def work(task: Task, source: Result | None = None) -> Result:
    """A Dask task: train one run, given the result of its source. Errors are returned in the result."""
    from distributed import get_worker

    if source is not None and source.outcome not in ("finished", "diverged"):
        name = task.config.source.name if task.config.source else ""
        if source.outcome != "failed":
            return Result(source.outcome)
        error = f"needs {name}, which failed"
        status.note_failure(task.config, task.options.results, error)
        return Result("failed", error=error)
    if BROKEN.is_set():
        os._exit(1)  # the nanny starts a new process
    worker = get_worker()
    mark = _mark(task.options.results)
    if not mark.exists() or mark.read_text() != task.folder:
        what = f"{worker.address} does not share {task.options.results}"
        text = f"{what}: all workers need the same results folder"
        return Result("failed", error=text, closes="the workers do not share the results folder")
    key = worker.get_current_task()
    first = True

    def say(**what: Any) -> None:
        worker.log_event(task.topic, {"name": task.name, "worker": worker.address, **what})

    def tell(done: int, _: int) -> None:
        nonlocal first
        say(epochs=done, first=first, **({"versions": provenance.versions()} if first else {}))
        first = False

    def told() -> bool:
        mine = worker.state.tasks.get(key)  # cancelled when the runner is gone
        return task.topic in STOPPED or mine is None or mine.state in ("cancelled", "released", "forgotten")

    say()
    nthreads = worker.state.nthreads
    use_threads(task.threads or max(1, (os.cpu_count() or 1) // nthreads))
    own = task.devices[int(worker.name) % len(task.devices)] if len(task.devices) > 1 else task.devices[0]
    stop = until(task.config, told, tell, epoch=task.epoch, end=task.end)
    with _warnings_to(lambda text: say(warned=text)):
        result = run_one(task.config, replace(task.options, device=own, stop=stop, lanes=nthreads))
    if result.closes and result.closes != "no space is left to write":
        BROKEN.set()
        return replace(result, closes=None)
    return result


async def tell_to_stop(topic: str) -> None:
    """Stop this worker's runs after their epoch. Only coroutines run with ``wait=False``."""
    STOPPED.add(topic)


def _mark(results: str | Path) -> Path:
    """The file that identifies the campaign's results folder."""
    return Path(results) / ".checkpoints" / "folder"


@contextmanager
def _warnings_to(say: Callable[[str], None]) -> Iterator[None]:
    """Pass the warnings of this thread to `say`."""
    if not getattr(warnings.showwarning, "of_campaign", False):
        before = warnings.showwarning

        def show(message: Warning | str, *more: Any, **named: Any) -> None:
            mine = getattr(_MINE, "say", None)
            mine(str(message)) if mine else before(message, *more, **named)

        show.of_campaign = True  # type: ignore[attr-defined]
        warnings.showwarning = show
    outer, _MINE.say = getattr(_MINE, "say", None), say
    try:
        yield
    finally:
        _MINE.say = outer


def _work(jobs: dict[str, Job]) -> tuple[float, float]:
    """FLOPs of all runs that have not failed: in total, and done."""
    costs = [(epoch_flops(job.config), job) for job in jobs.values() if job.status != "failed"]
    return sum(e * j.config.total_epochs for e, j in costs), sum(e * j.epochs for e, j in costs)


def _job(state: State) -> Job:
    """The job of a run. Runs that failed before are tried again."""
    what = "done" if state.done else "failed" if state.status == "damaged" else "left"
    return Job(state.config, what, state.epochs, state.masks, state.error)


def _short(config: RunConfig) -> str:
    return f"{config.label} {config.size} s{config.seed}" + (
        f" {config.multiplier}x" * (config.multiplier > 1)
    )
