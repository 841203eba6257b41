"""Trains runs until all are done, the time limit is reached, or the user stops it.

A single worker is a plain loop in this process; several workers are Dask's: see `rigl.campaign.tasks`. All
persistent state is in the results folder: records, checkpoints, and the lock of the process that trains a
run, which the operating system releases when that process dies.
"""

from __future__ import annotations

import errno
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from rigl.campaign import status
from rigl.campaign.bars import Bars
from rigl.campaign.cluster import check
from rigl.campaign.experiments import with_sources
from rigl.campaign.signals import heard
from rigl.campaign.status import State
from rigl.training.config import ConfigError, OneLineError, RunConfig, shown
from rigl.training.data import data_root
from rigl.training.estimate import Estimator, epoch_flops, kind
from rigl.training.records import writing
from rigl.training.train import Interrupted, Options, Stop, train

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
DISK_FULL, GPU_LOST = "no space is left to write", "this process can no longer use the GPU"
TIME_UP, NO_TIME = "the time is up", "no time for another epoch"
POLL = 0.5  # seconds between two checks of the time
LOOK = 2.0  # seconds between two checks of a run that another process trains

# Seconds per step of each kind of run that this process has trained.
PACES: dict[Any, float] = {}


@dataclass(frozen=True)
class Result:
    """The result of an attempt to train a run.

    outcome   "finished" or "diverged" (it has a record), "stopped", "busy" (another process trains it),
              "failed", or "left" (its source has no record yet, or its worker died)
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


def line_of(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def until(
    config: RunConfig,
    told: Callable[[], bool],
    tell: Callable[[int], None] = lambda _: None,
    *,
    epoch: float | None = None,
    deadline: float | None = None,
) -> Stop:
    """The `stop` of a run: stops if `told` returns True, or if the next epoch would end after `deadline`.

    `deadline` is a time of `time.time`; `epoch` is an initial estimate of an epoch's seconds. `tell` is
    called with the completed epochs.
    """
    key, steps = kind(config), config.steps_per_epoch
    last: float | None = None

    def stop(done: int, _: int) -> bool:
        nonlocal last
        now, trained = time.time(), last is not None
        if last is not None:
            PACES[key] = (now - last) / steps
        last = now
        takes = PACES[key] * steps if key in PACES else epoch or 0.0
        ends = told() or (deadline is not None and now + 1.1 * takes > deadline)
        if trained or not ends:  # also of the epoch after which it stops
            tell(done)
        return ends

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
    started   whether a worker has started to train it
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
    started: bool = False
    received: bool = False
    moved: bool = False
    look: float = 0.0


@dataclass
class Campaign:
    """The state of a runner."""

    jobs: dict[str, Job]
    options: Options
    bars: Bars
    deadline: float | None = None  # of `time.time`
    estimate: Estimator | None = None
    closing: str | None = None  # why no more runs are started
    said: set[str] = field(default_factory=set)
    first_start: float | None = None  # of a run, by `time.time`
    trained: bool = False  # whether an epoch was completed

    @property
    def over(self) -> bool:
        return all(job.status in ("done", "failed") for job in self.jobs.values())

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.time() >= self.deadline

    def close(self, reason: str | None = "interrupted") -> None:
        """Start no more runs if there is a reason, of which the first counts."""
        self.closing = self.closing or reason

    def once(self, text: str) -> None:
        """Print a message, but only once."""
        if text not in self.said:
            self.said.add(text)
            self.bars.say(text)

    def ready(self) -> Iterator[Job]:
        """The runs that can be started, in order. A run whose source failed fails here."""
        for job in self.jobs.values():
            if job.status == "elsewhere" and time.monotonic() >= job.look:
                self.look(job)
            if job.status != "left":
                continue
            source = self.jobs[job.config.source.name] if job.config.source else None
            if source is None or source.status in ("done", "sent"):
                yield job
            elif source.status == "failed":
                error = f"needs {source.config.name}, which failed"
                status.note_failure(job.config, self.options.results, error)
                self.fail(job, error)

    def look(self, job: Job) -> None:
        """Update the state of a run that another process trains or has trained."""
        (state,) = status.look([job.config], self.options.results)
        job.epochs = state.epochs
        if state.status == "damaged":
            self.fail(job, str(state.error))
        elif status.running(job.config, self.options.results):  # with a record, for its masks
            job.look = time.monotonic() + LOOK
        elif state.done and not job.masks:
            self.finish(job, Result(state.status, state.accuracy))  # type: ignore[arg-type]
        else:
            job.status = "left"

    def progress(self, job: Job, epochs: int) -> None:
        """A worker has completed `epochs` of a run. What it says first is where the run resumes."""
        if job.bar is None:
            job.started, self.first_start = True, self.first_start or time.time()
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

    def finish(self, job: Job, result: Result) -> None:
        """Handle the result of a run."""
        self.release(job)
        if result.outcome in status.DONE:
            self.trained |= job.started
            job.status, job.epochs = "done", job.config.total_epochs
            self.show()
            what = result.outcome if result.accuracy is None else f"{result.accuracy:.2f} %"
            note = "" if job.started else "trained elsewhere"
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
    start = time.time() if begun is None else time.time() - (time.monotonic() - begun)
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
        deadline=None if time_limit is None else start + time_limit - min(10.0, 0.1 * time_limit),
        estimate=estimate,
    )
    try:
        if here:
            _alone(campaign)
        else:
            from rigl.campaign.tasks import together

            together(campaign, cluster, workers, lanes)
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
        starting = f"of which starting up took {(campaign.first_start or time.time()) - start:.0f} s"
        outcome.advice = (
            f"no epoch fits into the time limit of {time_limit:g} s, {starting}: give a longer one"
        )
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
    after = None if campaign.deadline is None else campaign.deadline - time.time()
    with warnings.catch_warnings(), heard(campaign.close, campaign.bars.say, after):
        warnings.showwarning = lambda message, *_, **__: campaign.bars.say(str(message))
        while not (campaign.closing or campaign.over):
            job = next(campaign.ready(), None)
            if job is None:
                if not campaign.over:  # the last runs may have failed for want of their source
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
                deadline=campaign.deadline,
            )
            campaign.finish(job, run_one(job.config, replace(options, masks=job.masks, stop=stop)))
