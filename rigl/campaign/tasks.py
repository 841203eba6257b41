"""Dask's side of the runner: runs as tasks of workers, on this machine or on a cluster.

A worker stops a run after its epoch if its campaign's topic is in `STOPPED` (the user interrupted), if its
task was cancelled (the runner is gone), or if the next epoch would end too late. At the time limit, the
runner cancels what still trains.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
from filelock import FileLock

from rigl.campaign import status
from rigl.campaign.cluster import DEATHS, GPU, WorkerError, connect
from rigl.campaign.runner import (
    GPU_LOST,
    LOOK,
    POLL,
    Campaign,
    Job,
    Result,
    epoch_seconds,
    line_of,
    run_one,
    until,
)
from rigl.campaign.signals import heard
from rigl.training import provenance
from rigl.training.config import RunConfig
from rigl.training.devices import use_threads
from rigl.training.records import write_whole, writing
from rigl.training.train import Options

if TYPE_CHECKING:
    from distributed import Client, Future

# State of a worker process: the topics of stopped campaigns, whether its GPU has failed, and where a thread's
# warnings go.
STOPPED: set[str] = set()
BROKEN = threading.Event()
THREAD = threading.local()
SHOW = warnings.showwarning


def together(campaign: Campaign, cluster: str | None, workers: int, lanes: int) -> None:
    """Train runs as Dask tasks."""
    device = campaign.options.device
    devices, threads = shares(device, workers * lanes) if cluster is None else ([device], None)
    resources = {GPU: 1 / lanes} if cluster is not None and device.startswith("cuda") else None
    mark = _mark(campaign.options)
    with writing(mark), FileLock(mark.with_suffix(".lock")):  # another campaign may start here too
        if not mark.exists():
            write_whole(mark, uuid4().hex.encode())
        folder = mark.read_text()
    with (
        heard(campaign.close, campaign.bars.say),
        connect(cluster, workers=workers, lanes=lanes, device=device) as client,
    ):
        sender = Sender(campaign, client, resources, folder=folder, devices=devices, threads=threads)
        with suppress(KeyboardInterrupt):
            while sender.go_on():
                if client.status != "running":
                    raise WorkerError(f"the Dask scheduler at {cluster or 'this machine'} is gone")
        sender.cancel()


def shares(device: str, workers: int) -> tuple[list[str], int]:
    """The devices that workers of this machine take in turn, and the CPU threads of each worker."""
    devices = device.split(",")
    if device in ("auto", "cuda") and torch.cuda.device_count() > 1:
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return devices, max(1, torch.get_num_threads() // workers)


def _mark(options: Options) -> Path:
    """The file that tells a results folder from another machine's of the same path."""
    return Path(options.results, ".checkpoints", "folder")


class Sender:
    """Submits runs to Dask workers and handles their messages.

    resources  of a worker that a run takes
    fixed      the arguments of `work` that all runs share
    """

    def __init__(
        self,
        campaign: Campaign,
        client: Client,
        resources: dict[str, float] | None,
        **fixed: Any,
    ) -> None:
        self.campaign, self.client, self.resources = campaign, client, resources
        self.topic = f"rigl-{uuid4().hex}"  # names the campaign to its workers
        self.fixed = {"topic": self.topic, "deadline": campaign.deadline, **fixed}
        self.futures: dict[str, Future[Result]] = {}
        # What Dask's thread leaves to this one.
        self.messages: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.versions = provenance.versions()
        self.sent, self.stopped = time.monotonic(), False
        client.subscribe_topic(self.topic, lambda event: self.messages.put(partial(self._event, event[1])))

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
            self.messages.get(timeout=POLL)()
            while True:
                self.messages.get_nowait()()
        campaign.bars.refresh()
        return True

    def cancel(self) -> None:
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
        future.add_done_callback(lambda done: self.messages.put(partial(self._finished, job, done)))

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
        elif "versions" in said:
            if job.status == "sent":
                campaign.release(job)  # if another worker had it, that one died
                job.received = True
            theirs = [f"{k} {v}" for k, v in said["versions"].items() if v != self.versions.get(k)]
            if theirs:
                campaign.once(f"the worker {said['worker']} has other versions: {', '.join(theirs)}")
        elif job.status == "sent":  # it has neither ended nor was it cancelled
            epochs = int(said["epochs"])
            if job.started and job.bar is None:
                now = f"resumes after epoch {epochs}" if epochs else "begins anew"
                campaign.bars.say(f"the worker of {job.config.name} died: its run {now}")
            campaign.progress(job, epochs)

    def _finished(self, job: Job, future: Future[Result]) -> None:
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
        self.campaign.finish(job, result)

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
    folder: str,
    devices: list[str],
    threads: int | None,
    epoch: float | None,
    deadline: float | None,
) -> Result:
    """A Dask task: train one run, given the result of its source. Errors are returned in the result.

    topic       of the messages about its progress
    folder      what the campaign's results folder is recognised by
    devices     a local worker uses the one with its own index
    threads     CPU threads; None divides the cores by the worker's number of threads
    epoch, deadline  as for `until`
    """
    from distributed import get_worker

    if source is not None and source.outcome not in status.DONE:
        return Result("left")
    if BROKEN.is_set():
        os._exit(1)  # the nanny starts a new process
    worker = get_worker()
    mark = _mark(options)
    if not mark.exists() or mark.read_text() != folder:
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
    stop = until(config, told, lambda epochs: say(epochs=epochs), epoch=epoch, deadline=deadline)
    THREAD.say, warnings.showwarning = say, _show
    result = run_one(config, replace(options, device=own, stop=stop, lanes=nthreads))
    if result.closes == GPU_LOST:
        BROKEN.set()
        return replace(result, closes=None)
    return result


def _show(message: Warning | str, *where: Any, **how: Any) -> None:
    """Send a warning to the campaign whose run this thread trains."""
    if say := getattr(THREAD, "say", None):
        say(warned=str(message))
    else:
        SHOW(message, *where, **how)


async def tell_to_stop(topic: str) -> None:
    """Stop this worker's runs after their epoch. Only coroutines run with ``wait=False``."""
    STOPPED.add(topic)
