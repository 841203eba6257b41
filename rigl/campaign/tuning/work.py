"""Gets through a study's trials, in this process or in several, and then through its reference runs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from statistics import mean
from threading import Event
from typing import Any

import optuna
import torch

from rigl.campaign import processes
from rigl.campaign.studies import Settings, Study
from rigl.campaign.tuning.store import Counts, Store, Taken
from rigl.campaign.work import Result, run_one
from rigl.training import records
from rigl.training.config import OneLineError, RunConfig
from rigl.training.estimate import duration, estimator

POLL = 0.5


@dataclass
class Options:
    """How the runs of trials are trained: `device`, `data` and `tracker` as for `rigl.train`; `end` is a time
    of `time.monotonic` at which all is to have stopped."""

    results: str
    storage: str | None = None
    device: str = "auto"
    data: str | None = None
    tracker: str | None = None
    end: float | None = None
    workers: int = 1


@dataclass
class Outcome:
    """How a study stands: its trials, how many of its reference runs are done, what went wrong, and
    whether it was stopped."""

    study: Study
    counts: Counts
    reference: int
    errors: list[str]
    stopped: bool

    @property
    def status(self) -> int:
        """As an exit status: 0 all done, 1 something failed or too many trials did, 3 some left."""
        settings = self.study.settings
        if self.errors or (self.counts.complete < settings.trials <= self.counts.failed):
            return 1
        return 3 if self.counts.complete < settings.trials or self.reference < len(settings.seeds) else 0

    def lines(self) -> list[str]:
        """What there is to say."""
        settings, best = self.study.settings, self.study.best
        found = [
            f"done: {self.counts.complete} of {settings.trials} trials ({self.counts.failed} diverged), "
            f"{self.reference} of {len(settings.seeds)} reference runs"
        ]
        if best:
            found.append(
                f"best: trial {best.number}, alpha {best.alpha:.3f}, delta_t {best.delta_t}: "
                f"{best.value:.2f} % validation accuracy"
            )
        if self.status == 3:
            found.append("some are left: the same command goes on")
        if self.counts.complete < settings.trials <= self.counts.failed:
            found.append(f"given up: {self.counts.failed} trials diverged")
        return [*found, *(f"failed: {error}" for error in self.errors)]


def run(settings: Settings, options: Options) -> Outcome:
    """Go on with a study until its trials are complete, then with the reference runs, or until time is up.

    Ctrl-C or SIGTERM stop every run after its epoch, a second one at once. A trial of which a run diverged is
    a failed one; when as many have failed as were to be complete, the study is given up. A run that fails
    in another way (no room, no memory) leaves its trial begun and ends its worker: the same command tries it
    again. Raises StoreError, ConfigError.
    """
    store = Store(settings, options.results, options.storage)
    errors: list[str] = []
    stopping = Event()
    with processes.heard(lambda: _ask(stopping)):
        if options.workers == 1 or store.is_over():
            stop = Stop(settings, options, stopping)
            errors += _try(lambda: _trials(store, options, stop))
        else:
            errors += _together(settings, options, stopping)
            stop = Stop(settings, options, stopping)
            if store.is_over():
                errors.clear()  # the other workers made up for it
        if store.is_over() and not errors and not stopping.is_set():
            errors += _try(lambda: _reference(settings, options, stop))
    done = sum(records.path_of(config, options.results).exists() for config in settings.reference())
    return Outcome(store.data(), store.counts(), done, errors, stop())


class Stop:
    """Asked before every epoch whether to stop: when told to, or when that epoch would not be done in time.

    All runs of a study take as long, so one's pace tells the next one's; the first is judged by earlier ones.
    """

    def __init__(self, settings: Settings, options: Options, stopping: Event) -> None:
        self._stopping, self._end = stopping, options.end
        self._epoch, self._last = 0.0, (0, 0.0)
        if self._end is not None:
            whole = estimator(options.device, options.results)(settings.config)
            self._epoch = whole.seconds / settings.config.total_epochs if whole else 0.0

    def __call__(self, done: int = 0, total: int = 0) -> bool:
        now = time.monotonic()
        epochs, then = self._last
        if done == epochs + 1:
            self._epoch = now - then
        self._last = done, now
        return self._stopping.is_set() or (self._end is not None and now + 1.1 * self._epoch > self._end)


def _trials(store: Store, options: Options, stop: Stop) -> str | None:
    """Take trials until there are none; an error that ends this worker."""
    while not stop():
        taken = store.take()
        if taken is None:
            if store.is_over():
                return None
            time.sleep(POLL)  # others hold the rest, and may die, or their trials fail
            continue
        began = time.monotonic()
        try:
            results = _results(taken, options, stop)
        except BaseException:
            taken.lock.release()
            raise
        last = results[-1]
        name = taken.runs[len(results) - 1].name
        if last.outcome in ("failed", "stopped"):  # whoever comes next goes on with this trial
            taken.lock.release()
            return f"trial {taken.trial.number}: {name}: {last.error}" if last.error else None
        bad = f"{name} diverged" if last.outcome == "diverged" else None
        value = None if bad else mean(_accuracy(config, options.results) for config in taken.runs)
        study = store.tell(taken, value, bad)
        _say(taken, value, bad, study, time.monotonic() - began)
    return None


def _results(taken: Taken, options: Options, stop: Stop) -> list[Result]:
    """The runs of a trial, one after another up to the first that did not finish."""
    found = []
    for config in taken.runs:
        found.append(_run(config, options, stop))
        if found[-1].outcome != "finished":
            break
    return found


def _run(config: RunConfig, options: Options, stop: Stop) -> Result:
    """One run, here or, where another process trains it, there."""
    while True:
        result = run_one(
            config,
            results=options.results,
            device=options.device.split(",")[0],
            data=options.data,
            tracker=options.tracker,
            stop=stop,
        )
        if result.outcome != "busy":
            return result
        if stop():
            return Result("stopped")
        time.sleep(POLL)


def _reference(settings: Settings, options: Options, stop: Stop) -> str | None:
    for config in settings.reference():
        result = _run(config, options, stop)
        if result.outcome == "failed":
            return f"{config.name}: {result.error}"
        if result.outcome == "stopped":
            return None
    return None


def _accuracy(config: RunConfig, results: str) -> float:
    accuracy = records.load(records.path_of(config, results)).validation_accuracy
    assert accuracy is not None, "request refuses validation=0"
    return accuracy


def _say(taken: Taken, value: float | None, bad: str | None, study: Study, seconds: float) -> None:
    what = f"trial {taken.trial.number}: alpha {taken.alpha:.3f}, delta_t {taken.delta_t}: "
    result = f"FAILED, {bad}" if value is None else f"{value:.2f} %"
    best = f", best {study.best.value:.2f} %" if study.best else ""
    count = f"[{len(study.complete)}/{study.settings.trials}]"
    print(f"{count} {what}{result} in {duration(seconds)}{best}", flush=True)


def _try(do: Any) -> list[str]:
    """The error that `do` returns, or dies of."""
    try:
        error = do()
    except (OneLineError, OSError, optuna.exceptions.OptunaError) as died:
        error = f"{type(died).__name__}: {died}"
    return [error] if error else []


def _together(settings: Settings, options: Options, stopping: Event) -> list[str]:
    """Several processes on one study; what each that did not end well says."""
    processes.warm()
    devices = options.device.split(",")
    lines: dict[Connection, Any] = {}
    errors: list[str] = []
    try:
        for index in range(options.workers):
            ours, theirs = multiprocessing.Pipe()
            own = {**vars(options), "device": devices[index % len(devices)]}
            lines[ours] = processes.start(_worker, theirs, settings.model_dump_json(), own)
            theirs.close()
        told = False
        while lines:
            if stopping.is_set() and not told:
                told = True
                for line in lines:
                    with suppress(OSError):
                        line.send("stop")
            for line in [each for each in lines if each in wait(list(lines), timeout=POLL)]:
                process = lines.pop(line)
                try:
                    errors += line.recv()
                except (EOFError, OSError):
                    process.join()
                    errors.append(f"a worker died with exit status {process.exitcode}")
                    print(f"{errors[-1]}: the others go on with its trial", flush=True)
                line.close()
                process.join()
    finally:
        for process in lines.values():
            process.kill()
    return errors


def _worker(line: Connection, settings: str, options: dict[str, Any]) -> None:
    """Take trials until there are none, told to stop, or the process that started this one is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach all processes at once: that one decides
        signal.signal(number, signal.SIG_IGN)
    stopping = Event()
    threading.Thread(target=_listen, args=(line, stopping), daemon=True).start()
    made, own = Settings.model_validate_json(settings), Options(**options)
    torch.set_num_threads(max(1, torch.get_num_threads() // own.workers))
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", flush=True)

    def trials() -> str | None:
        return _trials(Store(made, own.results, own.storage), own, Stop(made, own, stopping))

    line.send(_try(trials))


def _listen(line: Connection, stopping: Event) -> None:
    while True:
        try:
            line.recv()
        except (EOFError, OSError):
            os._exit(1)  # as by kill -9: what a run needs is in its last checkpoint
        stopping.set()


def _ask(stopping: Event) -> None:
    """Say stop; a second time, die of it."""
    if stopping.is_set():
        raise KeyboardInterrupt
    stopping.set()
    print("stopping after the epochs that are on: once more to stop at once", flush=True)
