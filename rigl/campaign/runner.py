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
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import torch
from filelock import Timeout

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
from rigl.training.records import writing
from rigl.training.train import Interrupted, Options, Stop, train

if TYPE_CHECKING:
    from distributed import Client, Future

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
DISK_FULL, GPU_LOST = "no space is left to write", "this process can no longer use the GPU"
TIME_UP, NO_TIME = "the time is up", "no time for another epoch"
POLL = 0.5  # seconds between two checks of the time
LOOK = 2.0  # seconds between two attempts at a run that another process trains

# State of a worker process: the topics of stopped campaigns, the seconds per step of each kind of run, and
# whether its GPU has failed.
STOPPED: set[str] = set()
PACES: dict[Any, float] = {}
BROKEN = threading.Event()


@dataclass(frozen=True)
class Result:
    """The result of an attempt to train a run.

    outcome   "finished" or "diverged" (it has a record), "stopped", "busy" (another process trains it),
              "failed", or "left" (its source has no record yet)
    accuracy  on the test images, percent
    closes    the reason why all other runs would fail as well, which ends the campaign
    """

    outcome: Literal["finished", "diverged", "stopped", "busy", "failed", "left"]
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
        text, closes = line_of(error), None
        status.note_failure(config, options.results, text)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            closes = DISK_FULL
        elif not isinstance(error, OneLineError) and "CUDA error" in text:
            closes = GPU_LOST
        return Result("failed", error=text, closes=closes)
    status.failure_path(config, options.results).unlink(missing_ok=True)
    return Result(record.status, accuracy=record.test_accuracy)


def until(
    config: RunConfig,
    told: Callable[[], bool],
    tell: Callable[[int], None] = lambda _: None,
    *,
    epoch: float | None = None,
    end: float | None = None,
) -> Stop:
    """The `stop` of a run: stops if `told` returns True, or if the next epoch would end after `end`.

    `end` is a time of `time.time`; `epoch` is an initial estimate of an epoch's seconds. `tell` is called
    with the completed epochs.
    """
    key, steps = kind(config), config.steps_per_epoch
    last: float | None = None

    def stop(done: int, _: int) -> bool:
        nonlocal last
        now = time.time()
        if last is not None:
            PACES[key] = (now - last) / steps
        last = now
        takes = PACES[key] * steps if key in PACES else epoch or 0.0
        if told() or (end is not None and now + 1.1 * takes > end):
            return True
        tell(done)
        return False

    return stop


def epoch_seconds(config: RunConfig, estimate: Estimator | None) -> float | None:
    """Estimated seconds of an epoch of `config`, if anything is known."""
    whole = estimate(config) if estimate else None
    return whole.seconds / config.total_epochs if whole else None


@dataclass
class Job:
    """The state of a run in this campaign.

    status    "left", "sent" (to a worker), "elsewhere" (another process trains it), "done" or "failed"
    epochs    the most epochs completed so far
    masks     whether it is trained again only for its final masks
    bar       its progress bar while it is trained
    begun     whether a worker has started to train it
    received  whether a worker has received it since it was sent
    moved     whether an epoch was completed since it was sent
    look      when to check again whether another process still trains it
    """

    config: RunConfig
    status: str
    epochs: int = 0
    masks: bool = False
    error: str | None = None
    bar: Any = None
    begun: bool = False
    received: bool = False
    moved: bool = False
    look: float = 0.0


@dataclass
class Campaign:
    """The state of a runner."""

    jobs: dict[str, Job]
    options: Options
    bars: Bars
    end: float | None = None
    estimate: Estimator | None = None
    closing: str | None = None  # why no more runs are started
    said: set[str] = field(default_factory=set)
    begun: float | None = None  # when the first run started
    trained: bool = False  # whether an epoch was completed

    @property
    def over(self) -> bool:
        return all(job.status in ("done", "failed") for job in self.jobs.values())

    @property
    def late(self) -> bool:
        return self.end is not None and time.time() >= self.end

    def close(self, reason: str | None) -> None:
        """Start no more runs if there is a reason, of which the first counts."""
        self.closing = self.closing or reason

    def request_stop(self) -> None:
        """Stop after the current epochs."""
        self.close("interrupted")
        self.bars.say("stopping after the current epochs; interrupt again to stop at once")

    def once(self, text: str) -> None:
        """Print a message, but only once."""
        if text not in self.said:
            self.said.add(text)
            self.bars.say(text)

    def ready(self) -> Iterator[Job]:
        """The runs that can be started, in order. A run whose source failed fails here."""
        for job in self.jobs.values():
            if job.status == "elsewhere" and time.monotonic() >= job.look:
                job.status = "left"
            if job.status != "left":
                continue
            source = self.jobs[job.config.source.name] if job.config.source else None
            if source is None or source.status in ("done", "sent"):
                yield job
            elif source.status == "failed":
                error = f"needs {source.config.name}, which failed"
                status.note_failure(job.config, self.options.results, error)
                self.fail(job, error)

    def progress(self, job: Job, epochs: int) -> None:
        """A worker has completed `epochs` of a run. What it says first is where the run resumes."""
        if job.bar is None:
            job.begun, self.begun = True, self.begun or time.time()
            name = f"{job.config.label} {job.config.size} s{job.config.seed}"
            times = f" {job.config.multiplier}x" if job.config.multiplier > 1 else ""
            job.bar = self.bars.begin(name + times, job.config.total_epochs, epochs)
        elif epochs > job.epochs:
            job.moved = self.trained = True
        job.epochs = max(epochs, job.epochs)
        job.bar.n = epochs
        self.show()

    def release(self, job: Job) -> None:
        """Give the bar of a run back, which has ended or whose worker has died."""
        if job.bar is not None:
            self.bars.idle(job.bar)
            job.bar = None

    def end_of(self, job: Job, result: Result) -> None:
        """Handle the result of a run."""
        self.release(job)
        if result.outcome in status.DONE:
            self.trained |= job.begun
            job.status, job.epochs = "done", job.config.total_epochs
            self.show()
            what = result.outcome if result.accuracy is None else f"{result.accuracy:.2f} %"
            note = "" if job.begun else "trained elsewhere"
            text = ", ".join(filter(None, (what, note, self.bars.left())))
            self.bars.say(f"[{self.count}] {job.config.name}: {text}")
        elif result.outcome == "failed":
            self.fail(job, str(result.error))
        elif result.outcome == "busy":
            job.status, job.look = "elsewhere", time.monotonic() + LOOK
        else:
            job.status = "left"
            if result.outcome == "stopped":
                self.close(NO_TIME)
        self.close(result.closes)

    def fail(self, job: Job, error: str) -> None:
        job.status, job.error = "failed", error
        self.show()
        self.bars.say(f"[{self.count}] {job.config.name} FAILED: {error}")

    def show(self) -> None:
        self.bars.work(*_work(self.jobs), f"{self.count} runs")

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
    except KeyboardInterrupt:
        campaign.close(TIME_UP if campaign.late else "interrupted")
    finally:
        campaign.bars.close()
    if campaign.late and not campaign.over:
        campaign.close(TIME_UP)
    outcome = Outcome(
        done=[name for name, job in jobs.items() if job.status == "done"],
        left=[name for name, job in jobs.items() if job.status not in ("done", "failed")],
        failed={name: str(job.error) for name, job in jobs.items() if job.status == "failed"},
        reason=campaign.closing,
    )
    if time_limit is not None and not campaign.trained and campaign.closing in (TIME_UP, NO_TIME):
        start = f"of which starting up took {(campaign.begun or time.time()) - begin:.0f} s"
        outcome.advice = f"no epoch fits into the time limit of {time_limit:g} s, {start}: give a longer one"
    return outcome


def _job(state: State) -> Job:
    """The job of a run. Runs that failed before are tried again."""
    what = "done" if state.done else "failed" if state.status == "damaged" else "left"
    return Job(state.config, what, state.epochs, state.masks, state.error)


def _work(jobs: dict[str, Job]) -> tuple[float, float]:
    """FLOPs of all runs that have not failed: in total, and done."""
    costs = [(epoch_flops(job.config), job) for job in jobs.values() if job.status != "failed"]
    return sum(e * j.config.total_epochs for e, j in costs), sum(e * j.epochs for e, j in costs)


def _alone(campaign: Campaign) -> None:
    """Train one run after another in this process."""
    options = replace(campaign.options, device=campaign.options.device.split(",")[0])
    after = None if campaign.end is None else campaign.end - time.time()
    with warnings.catch_warnings(), heard(campaign.request_stop, after):
        warnings.showwarning = lambda message, *_, **__: campaign.bars.say(str(message))
        while not (campaign.closing or campaign.over):
            job = next(campaign.ready(), None)
            if job is None:
                campaign.once("waiting for runs that other processes train")
                time.sleep(POLL)
                continue

            def tell(epochs: int, job: Job = job) -> None:
                campaign.progress(job, epochs)
                campaign.bars.refresh()

            stop = until(
                job.config,
                lambda: campaign.closing is not None,
                tell,
                epoch=epoch_seconds(job.config, campaign.estimate),
                end=campaign.end,
            )
            campaign.end_of(job, run_one(job.config, replace(options, masks=job.masks, stop=stop)))


def _together(campaign: Campaign, cluster: str | None, workers: int, lanes: int) -> None:
    """Train runs as Dask tasks."""
    device = campaign.options.device
    devices, threads = shares(device, workers * lanes) if cluster is None else ([device], None)
    resources = {GPU: 1 / lanes} if cluster is not None and device.startswith("cuda") else None
    topic = f"rigl-{uuid4().hex}"
    mark = _mark(campaign.options, topic)
    with writing(mark):
        mark.touch()
    try:
        with (
            heard(campaign.request_stop),
            connect(cluster, workers=workers, lanes=lanes, device=device) as client,
        ):
            sender = Sender(campaign, client, topic, resources, devices=devices, threads=threads)
            with suppress(KeyboardInterrupt):
                while sender.go_on():
                    if client.status != "running":
                        raise WorkerError(f"the Dask scheduler at {cluster or 'this machine'} is gone")
            sender.end()
    finally:
        mark.unlink(missing_ok=True)


def shares(device: str, workers: int) -> tuple[list[str], int]:
    """The devices that workers of this machine take in turn, and the CPU threads of each worker."""
    devices = device.split(",")
    if device in ("auto", "cuda") and torch.cuda.device_count() > 1:
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return devices, max(1, torch.get_num_threads() // workers)


def _mark(options: Options, topic: str) -> Path:
    """A file by which a worker recognises the results folder of a campaign, not another of the same path."""
    return Path(options.results, ".checkpoints", topic)


class Sender:
    """Submits runs to Dask workers and handles their messages.

    topic      names the campaign to its workers
    resources  of a worker that a run takes
    fixed      the arguments of `work` that all runs share
    """

    def __init__(
        self,
        campaign: Campaign,
        client: Client,
        topic: str,
        resources: dict[str, float] | None,
        **fixed: Any,
    ) -> None:
        self.campaign, self.client, self.topic, self.resources = campaign, client, topic, resources
        self.fixed = {"topic": topic, "end": campaign.end, **fixed}
        self.futures: dict[str, Future[Result]] = {}
        self.heard: SimpleQueue[Callable[[], None]] = SimpleQueue()  # what Dask's thread leaves to this one
        self.versions = provenance.versions()
        self.sent, self.stopped = time.monotonic(), False
        client.subscribe_topic(topic, lambda event: self.heard.put(partial(self._event, event[1])))

    def go_on(self) -> bool:
        """Submit runs and handle messages; returns False when there is nothing more to do."""
        campaign = self.campaign
        if campaign.late:
            return False
        if campaign.closing:
            self._stop()
        else:
            for job in campaign.ready():
                self._send(job)
        if campaign.over or (campaign.closing and not self.futures):
            return False
        self._say_why_waiting()
        with suppress(Empty):
            self.heard.get(timeout=POLL)()
            while True:
                self.heard.get_nowait()()
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
        config, campaign = job.config, self.campaign
        future = self.client.submit(
            work,
            config,
            self.futures.get(config.source.name) if config.source else None,
            options=replace(campaign.options, masks=job.masks),
            epoch=epoch_seconds(config, campaign.estimate),
            **self.fixed,
            key=f"{config.name}-{uuid4().hex}",
            priority=-list(campaign.jobs).index(config.name),
            resources=self.resources,
            pure=False,
        )
        job.status, job.received, job.moved = "sent", False, False
        self.sent = time.monotonic()
        self.futures[config.name] = future
        future.add_done_callback(lambda done: self.heard.put(partial(self._end, job, done)))

    def _stop(self) -> None:
        """Stop the current runs after their epoch, and cancel the others."""
        if self.stopped:
            return
        self.stopped = True
        waiting = [job for job in self.campaign.jobs.values() if job.status == "sent" and job.bar is None]
        self.client.cancel([self.futures.pop(job.config.name) for job in waiting], force=True)
        for job in waiting:
            job.status = "left"
        self.client.run(tell_to_stop, self.topic, wait=False)

    def _event(self, said: dict[str, Any]) -> None:
        campaign, job = self.campaign, self.campaign.jobs[said["name"]]
        if "warned" in said:
            campaign.bars.say(said["warned"])
        elif job.status != "sent":
            return  # it has ended, or was cancelled
        elif "versions" in said:
            campaign.release(job)  # if another worker had it, that one died
            job.received = True
            theirs = [f"{k} {v}" for k, v in said["versions"].items() if v != self.versions.get(k)]
            if theirs:
                campaign.once(f"the worker {said['worker']} has other versions: {', '.join(theirs)}")
        else:
            epochs = int(said["epochs"])
            if job.begun and job.bar is None:
                now = f"resumes after epoch {epochs}" if epochs else "begins anew"
                campaign.bars.say(f"the worker of {job.config.name} died: its run {now}")
            campaign.progress(job, epochs)

    def _end(self, job: Job, future: Future[Result]) -> None:
        if self.futures.get(job.config.name) is not future:
            return
        from distributed import KilledWorker

        del self.futures[job.config.name]
        try:
            result: Result = future.result(timeout=60)
        except KeyboardInterrupt:
            raise
        except KilledWorker:
            result = Result("left")  # it was only queued there, or it makes progress
            if job.received and not job.moved:
                error = f"its worker died, {DEATHS} times without an epoch in between"
                status.note_failure(job.config, self.campaign.options.results, error)
                result = Result("failed", error=error)
        except BaseException as raised:  # such as a worker that cannot import this code
            result = Result("failed", error=line_of(raised))
        self.campaign.end_of(job, result)

    def _say_why_waiting(self) -> None:
        jobs = self.campaign.jobs.values()
        if all(job.status in ("done", "failed", "elsewhere") for job in jobs):
            self.campaign.once("waiting for runs that other processes train")
        elif self.futures and time.monotonic() > self.sent + LOOK and not any(job.received for job in jobs):
            self.campaign.once("waiting for workers of the cluster")


def work(
    config: RunConfig,
    source: Result | None,
    *,
    options: Options,
    topic: str,
    devices: list[str],
    threads: int | None,
    epoch: float | None,
    end: float | None,
) -> Result:
    """A Dask task: train one run, given the result of its source. Errors are returned in the result.

    topic       of the messages about its progress
    devices     a local worker uses the one with its own index
    threads     CPU threads; None divides the cores by the worker's number of threads
    epoch, end  as for `until`
    """
    from distributed import get_worker

    if source is not None and source.outcome not in status.DONE:
        return Result("left")
    if BROKEN.is_set():
        os._exit(1)  # the nanny starts a new process
    worker = get_worker()
    if not _mark(options, topic).exists():
        what = f"{worker.address} does not share {options.results}"
        text = f"{what}: all workers need the same results folder"
        return Result("failed", error=text, closes="the workers do not share the results folder")
    key, nthreads = worker.get_current_task(), worker.state.nthreads

    def say(**what: Any) -> None:
        worker.log_event(topic, {"name": config.name, "worker": worker.address, **what})

    def told() -> bool:
        mine = worker.state.tasks.get(key)  # cancelled when the runner is gone
        return topic in STOPPED or mine is None or mine.state in ("cancelled", "released", "forgotten")

    say(versions=provenance.versions())
    use_threads(threads or max(1, (os.cpu_count() or 1) // nthreads))
    own = devices[int(worker.name) % len(devices)] if len(devices) > 1 else devices[0]
    stop = until(config, told, lambda epochs: say(epochs=epochs), epoch=epoch, end=end)
    warnings.showwarning = lambda message, *_, **__: say(warned=str(message))
    result = run_one(config, replace(options, device=own, stop=stop, lanes=nthreads))
    if result.closes == GPU_LOST:
        BROKEN.set()
        return replace(result, closes=None)
    return result


async def tell_to_stop(topic: str) -> None:
    """Stop this worker's runs after their epoch. Only coroutines run with ``wait=False``."""
    STOPPED.add(topic)


def line_of(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
