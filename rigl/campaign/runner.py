"""Gives runs to workers until all are done, the time is up, or somebody says stop.

All that must survive is in the results themselves: records, checkpoints, and the lock that whoever trains a
run holds, which the system takes from a process that dies. A runner only remembers what it has tried.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rigl.campaign import journal, processes, status
from rigl.campaign.bars import Bars
from rigl.campaign.crew import Crew, Gone, Lane, WorkerError
from rigl.campaign.experiments import with_sources
from rigl.campaign.local import Local
from rigl.campaign.status import State, tidy
from rigl.campaign.work import Order, Result, Warned
from rigl.training.config import RunConfig
from rigl.training.data import data_root
from rigl.training.estimate import Estimator, epoch_flops

POLL = 0.5
# So often may workers die, one after another, over one run without finishing an epoch of it.
DEATHS = 5


@dataclass
class Outcome:
    """How a campaign ended: its runs by name, and why it stopped before all were done, if it did."""

    done: list[str]
    left: list[str]
    failed: dict[str, str]
    reason: str | None = None

    @property
    def status(self) -> int:
        """As an exit status: 0 all done, 1 some failed, 3 some left."""
        return 1 if self.failed else 3 if self.left else 0

    def lines(self) -> list[str]:
        """What there is to say."""
        found = [f"done: {len(self.done)} of {len(self.done) + len(self.left) + len(self.failed)} runs"]
        if self.left:
            found.append(f"left: {len(self.left)} ({self.reason}); the same command goes on")
        if self.failed:
            found += [f"failed: {len(self.failed)}", *(f"  {n}: {error}" for n, error in self.failed.items())]
        return found


@dataclass
class Job:
    """A run as this campaign sees it; `status` is "left", "running", "elsewhere" (another process trains it),
    "done" or "failed"; `furthest` is the most epochs that it has come to, also if these were lost."""

    config: RunConfig
    status: str
    epochs: int = 0
    masks: bool = False
    error: str | None = None
    furthest: int = 0
    deaths: int = 0
    look: float = 0.0


@dataclass
class Worker:
    """A lane, and the run that it does."""

    index: int
    lane: Lane
    ready: bool = False
    job: Job | None = None
    told: bool = False
    fresh: bool = False


@dataclass
class Campaign:
    """What a runner remembers while it runs."""

    jobs: dict[str, Job]
    results: Path
    crew: Crew
    bars: Bars
    end: float | None = None
    estimate: Estimator | None = None
    tracker: str | None = None
    lanes: int = 1
    engine: str = "auto"
    workers: list[Worker] = field(default_factory=list)
    closing: str | None = None
    interrupts: int = 0
    stillborn: int = 0
    waited: set[str] = field(default_factory=set)

    def interrupt(self) -> None:
        self.interrupts += 1


def run(
    configs: Sequence[RunConfig],
    *,
    results: str | Path = "results",
    device: str = "auto",
    data: str | Path | None = None,
    workers: int = 1,
    lanes: int = 1,
    time_limit: float | None = None,
    begun: float | None = None,
    progress: bool | None = None,
    estimate: Estimator | None = None,
    cluster: str | None = None,
    tracker: str | None = None,
    engine: str = "auto",
) -> Outcome:
    """Get through `configs`, and what they start from, in their order.

    device      as for `rigl.train`; several, joined by commas, are given to the workers in turn
    workers     processes, each with its share of the CPU threads
    lanes       runs at a time in each of these
    cluster     in place of those: workers of a Dask cluster, as `rigl.campaign.cluster.join` has them
    time_limit  seconds from `begun` (a time of `time.monotonic`; None is now) after which all has stopped. A
                run stops after an epoch where the next would not be done in time, and goes on next time; at
                the limit at the latest, when it loses the epoch that it is in
    progress    bars; None shows them in a terminal or a notebook only
    estimate    tells how long a run takes, so that none is begun whose first epoch would not be done in time
    tracker, engine  as for `rigl.train`

    A finished run is not repeated, and one that another process trains is left to it, and waited for. Ctrl-C
    or SIGTERM stop every run after its epoch, a second one at once. Failed runs are in the outcome, and the
    others go on; a full disk stops all, since none could go on. Raises WorkerError where no worker is to be
    had.
    """
    found = status.look(with_sources(configs), results)
    (Path(results) / ".checkpoints").mkdir(parents=True, exist_ok=True)
    tidy(results)
    jobs = {state.config.name: _job(state) for state in found}
    begin = time.monotonic() if begun is None else begun
    crew: Crew
    if cluster is None:
        processes.warm()
        crew = Local(workers, str(results), device.split(","), str(data_root(data)), lanes)
    else:
        from rigl.campaign.cluster import join  # Dask is there only where it was asked for

        crew = join(cluster, results=results, devices=device.split(","), data=data)
    campaign = Campaign(
        jobs=jobs,
        results=Path(results),
        crew=crew,
        bars=Bars(*_work(jobs), crew.count, progress),
        # A process also takes a while to start and to end.
        end=None if time_limit is None else begin + time_limit - min(10.0, 0.1 * time_limit),
        estimate=estimate,
        tracker=tracker,
        lanes=lanes,
        engine=engine,
    )
    try:
        with processes.heard(campaign.interrupt):
            while _go_on(campaign):
                pass
    finally:
        crew.close()
        campaign.bars.close()
    return Outcome(
        done=[name for name, job in jobs.items() if job.status == "done"],
        left=[name for name, job in jobs.items() if job.status not in ("done", "failed")],
        failed={name: str(job.error) for name, job in jobs.items() if job.status == "failed"},
        reason=campaign.closing,
    )


def _go_on(campaign: Campaign) -> bool:
    """Hand out what there is, hear what workers say; False when there is nothing more to do."""
    _look_at_time(campaign)
    if campaign.closing:
        for each in campaign.workers:
            _tell_to_stop(each)
    else:
        _hand_out(campaign)
    busy = any(each.job for each in campaign.workers)
    if not busy and (campaign.closing or all(j.status in ("done", "failed") for j in campaign.jobs.values())):
        return False
    if not busy:
        _say_why_waiting(campaign)
    for lane, said in campaign.crew.hear(POLL):
        _hear(campaign, lane, said)
    campaign.bars.refresh()
    return True


def _say_why_waiting(campaign: Campaign) -> None:
    """Once each."""
    why = ""
    if all(job.status != "left" for job in campaign.jobs.values()):
        why = "waiting for runs that other processes train"
    elif campaign.crew.count == 0:
        why = "waiting for workers of the cluster"
    if why and why not in campaign.waited:
        campaign.waited.add(why)
        campaign.bars.say(why)


def _look_at_time(campaign: Campaign) -> None:
    if campaign.interrupts and not campaign.closing:
        campaign.closing = "interrupted"
        campaign.bars.say("stopping after the epochs that are on: once more to stop at once")
    out_of_time = campaign.end is not None and time.monotonic() >= campaign.end
    if out_of_time and not campaign.closing:
        campaign.closing = "the time is up"
    if out_of_time or campaign.interrupts > 1:
        for each in [each for each in campaign.workers if each.job]:
            each.lane.kill()


def _hand_out(campaign: Campaign) -> None:
    """Give a run to every worker that has none, and have as many workers as there are runs for."""
    for job in campaign.jobs.values():
        if job.status == "elsewhere" and time.monotonic() >= job.look:
            _look_again(campaign, job)
    free = [each for each in campaign.workers if each.job is None]
    ready = [each for each in free if each.ready]
    can = list(_ready(campaign))
    campaign.crew.want(len(can) + len(campaign.workers) - len(free))
    for job in can:
        if ready:
            _look_again(campaign, job)
            if job.status == "left":
                free.remove(ready[0])
                _order(campaign, ready.pop(0), job)
        elif free:
            free.pop()  # it takes this run when it has started
        elif len(campaign.workers) < campaign.crew.count:
            _start(campaign)
        else:
            return


def _ready(campaign: Campaign) -> Iterator[Job]:
    """The runs that can be begun, in their order."""
    for name, job in campaign.jobs.items():
        if job.status != "left":
            continue
        source = campaign.jobs[job.config.source.name] if job.config.source else None
        if source and source.status == "failed":
            error = f"needs {source.config.name}, which failed"
            journal.note(campaign.results, "fail", name, error=error)
            _fail(campaign, job, error)
        elif not source or source.status == "done":
            yield campaign.jobs[name]


def _look_again(campaign: Campaign, job: Job) -> None:
    """What is there of a run now: another process may train it, or have done so."""
    (state,) = status.look([job.config], campaign.results)
    if job.masks and status.running(job.config, campaign.results):
        job.status, job.look = "elsewhere", time.monotonic() + 2 * POLL
    elif job.masks:
        job.status = "left"
    elif state.status == "damaged":
        _fail(campaign, job, str(state.error))
    elif state.done:
        _done(campaign, job, state.status, state.accuracy, "elsewhere")
    elif state.status == "running":
        job.status, job.look, job.epochs = "elsewhere", time.monotonic() + 2 * POLL, state.epochs
    else:
        job.status, job.epochs = "left", state.epochs


def _order(campaign: Campaign, each: Worker, job: Job) -> None:
    whole = campaign.estimate(job.config) if campaign.estimate else None
    epoch = whole.seconds / job.config.total_epochs if whole else None
    left = None if campaign.end is None else campaign.end - time.monotonic()
    job.status, each.job, each.fresh = "running", job, True
    each.lane.send(
        Order(job.config, job.masks, epoch, left, campaign.tracker, campaign.lanes, campaign.engine)
    )
    campaign.bars.begin(each.index, _short(job.config), job.config.total_epochs)


def _hear(campaign: Campaign, lane: Lane | None, said: Any) -> None:
    """Take what a worker sends, or that it is gone."""
    if isinstance(said, Warned):
        campaign.bars.say(said.text)
    each = next((each for each in campaign.workers if each.lane is lane), None)
    if each is None:
        return
    if isinstance(said, Gone):
        _lost(campaign, each, said)
    elif said == "ready":
        each.ready, campaign.stillborn = True, 0
    elif isinstance(said, Result):
        _heard_result(campaign, each, said)
    elif each.job and not isinstance(said, Warned):
        done, _ = said
        if done > max(each.job.epochs, each.job.furthest):
            each.job.deaths = 0
        each.job.epochs, each.job.furthest = done, max(done, each.job.furthest)
        campaign.bars.epoch(each.index, done, each.fresh)
        each.fresh = False
        _show(campaign)


def _heard_result(campaign: Campaign, each: Worker, result: Result) -> None:
    job, each.job = each.job, None
    campaign.bars.idle(each.index)
    if job is None:
        return
    if result.outcome in status.DONE:
        _done(campaign, job, result.outcome, result.accuracy)
    elif result.outcome == "failed":
        _fail(campaign, job, str(result.error))
        if result.no_room and not campaign.closing:
            campaign.closing = "no room is left to write"
    elif result.outcome == "busy":
        job.status, job.look = "elsewhere", time.monotonic() + 2 * POLL
    else:
        job.status = "left"
        if not campaign.closing:
            campaign.closing = "no time for another epoch"
    if not result.sound:
        each.lane.close()
        campaign.workers.remove(each)


def _lost(campaign: Campaign, each: Worker, gone: Gone) -> None:
    """A worker died: another one goes on with its run, unless that seems to be what kills them."""
    each.lane.close()
    campaign.workers.remove(each)
    if not each.ready:
        _stillborn(campaign, gone.how)
    job = each.job
    if job is None:
        return
    campaign.bars.idle(each.index)
    tidy(campaign.results)
    job.deaths += 1
    job.status = "left"
    if campaign.closing:
        return
    journal.note(campaign.results, "died", job.config.name, error=gone.how)
    if job.deaths >= DEATHS:
        error = f"its worker died {gone.how}, {job.deaths} times without an epoch in between"
        journal.note(campaign.results, "fail", job.config.name, error=error)
        _fail(campaign, job, error)
    else:
        then = "begins anew" if gone.anew else "goes on from its last epoch"
        campaign.bars.say(f"the worker of {job.config.name} died {gone.how}: its run {then}")


def _start(campaign: Campaign) -> None:
    taken = {each.index for each in campaign.workers}
    index = next(i for i in itertools.count() if i not in taken)
    try:
        campaign.workers.append(Worker(index, campaign.crew.start(index)))
    except (OSError, EOFError) as error:
        _stillborn(campaign, f"with {type(error).__name__}: {error}")


def _stillborn(campaign: Campaign, how: str) -> None:
    """A worker died before it was ready."""
    campaign.stillborn += 1
    if campaign.stillborn >= DEATHS:
        raise WorkerError(f"worker processes die as they start, the last one {how}")


def _tell_to_stop(each: Worker) -> None:
    if not each.told:
        each.told = True
        each.lane.stop()


def _done(campaign: Campaign, job: Job, status: str, accuracy: float | None, where: str = "") -> None:
    job.status, job.epochs, job.masks = "done", job.config.total_epochs, False
    _show(campaign)
    result = status if accuracy is None else f"{accuracy:.2f} %"
    note = ", ".join(filter(None, [result, f"trained {where}" if where else "", campaign.bars.left()]))
    campaign.bars.say(f"[{_count(campaign)}] {job.config.name}: {note}")


def _fail(campaign: Campaign, job: Job, error: str) -> None:
    job.status, job.error = "failed", error
    _show(campaign)
    campaign.bars.say(f"[{_count(campaign)}] {job.config.name} FAILED: {error}")


def _show(campaign: Campaign) -> None:
    total, done = _work(campaign.jobs)
    campaign.bars.total = total
    campaign.bars.work(done, f"{_count(campaign)} runs")


def _count(campaign: Campaign) -> str:
    done = sum(job.status == "done" for job in campaign.jobs.values())
    return f"{done}/{len(campaign.jobs)}"


def _work(jobs: dict[str, Job]) -> tuple[float, float]:
    """(FLOPs of all runs that have not failed, of them done)."""
    costs = [(epoch_flops(job.config), job) for job in jobs.values() if job.status != "failed"]
    return sum(e * j.config.total_epochs for e, j in costs), sum(e * j.epochs for e, j in costs)


def _job(state: State) -> Job:
    """Runs that failed before are tried again."""
    status = "done" if state.done else "failed" if state.status == "damaged" else "left"
    return Job(state.config, status, state.epochs, state.masks, state.error)


def _short(config: RunConfig) -> str:
    return f"{config.label} {config.size} s{config.seed}" + (
        f" {config.multiplier}x" * (config.multiplier > 1)
    )
