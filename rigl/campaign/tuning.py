"""Hyperparameter search for alpha and delta_t with Optuna: TPE over the report's space.

A trial is a few ordinary runs. If it is stopped or its process dies, it is repeated with the same alpha and
delta_t, and its runs resume from their records and checkpoints.
"""

from __future__ import annotations

import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from rigl.campaign import runner, studies, tasks
from rigl.campaign.signals import heard
from rigl.campaign.studies import Settings, Study, Trial
from rigl.training import provenance, records, tracking
from rigl.training.config import ConfigError, OneLineError, RunConfig, brief
from rigl.training.devices import resolve_device, use_threads
from rigl.training.estimate import duration, estimator
from rigl.training.train import Options as TrainOptions

# As in the version that the report used; the default of Optuna 5 is True.
MULTIVARIATE = False
# Seconds between the heartbeats of a trial, and without one until its process counts as dead.
HEARTBEAT, GRACE = 3, 12
PATIENCE = 60  # seconds to wait for a lock of SQLite
POLL = 0.5
INDEX = "rigl:index"  # of a trial: which of the study's draws it takes


class StoreError(ConfigError):
    """A storage that cannot be used. The message names it, without its password."""


class Again(OneLineError, RuntimeError):
    """A trial that has to be repeated, since it was stopped or the disk was full, for example."""


class Sampler(TPESampler):
    """TPE without internal state: its draws depend on the seed and the trials only, so that a resumed study
    continues as it would have without interruption."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, multivariate=MULTIVARIATE)
        self._own = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if "fixed_params" not in trial.system_attrs:  # else it repeats another trial's parameters
            index = self._index(study, trial)
            study._storage.set_trial_system_attr(trial._trial_id, INDEX, index)
            mixed = np.random.SeedSequence([self._own, index]).generate_state(1)
            super().__init__(seed=int(mixed[0]), multivariate=MULTIVARIATE)
        super().before_trial(study, trial)

    @staticmethod
    def _index(study: optuna.Study, trial: FrozenTrial) -> int:
        """The first number that no earlier trial draws by, but one that ended before it had drawn: whoever
        comes next takes its place, and a trial to be repeated keeps its own."""
        earlier = [each for each in study.get_trials(deepcopy=False) if each.number < trial.number]
        drawn = [each for each in earlier if each.state == TrialState.RUNNING or len(each.params) == 2]
        taken = {each.system_attrs[INDEX] for each in drawn if INDEX in each.system_attrs}
        free = (number for number in count() if number not in taken)
        for each in drawn:  # others may be just about to take theirs
            if INDEX not in each.system_attrs and "fixed_params" not in each.system_attrs:
                next(free)
        return next(free)


@dataclass(frozen=True)
class Options(TrainOptions):
    """How to run a study, beside how to train its runs.

    storage   a URL for Optuna; default: SQLite in `results`
    deadline  the time of `time.time` at which to stop
    workers   number of processes
    """

    storage: str | None = None
    deadline: float | None = None
    workers: int = 1


def check(options: Options) -> Options:
    """`options`, if its tracker and devices are available. Raises ConfigError, one line."""
    tracking.check(options.tracker)
    for device in options.device.split(","):
        resolve_device(device)
    return options


@dataclass(frozen=True)
class Counts:
    """Numbers of trials of a study: complete, failed because a run diverged, and running."""

    complete: int = 0
    failed: int = 0
    running: int = 0


@dataclass
class Outcome:
    """How far a study is: its trials and their numbers, and the number of completed reference runs; after
    `run` also its errors, whether it was stopped, and what to do then."""

    settings: Settings
    study: Study | None
    counts: Counts
    reference: int
    errors: list[str] = field(default_factory=list)
    stopped: bool = False
    advice: str = "rerun the same command to resume"

    @property
    def abandoned(self) -> bool:
        return self.counts.complete < self.settings.trials <= self.counts.failed

    @property
    def status(self) -> int:
        """The exit status: 0 all done, 1 errors or too many failed trials, 3 some left."""
        if self.errors or self.abandoned:
            return 1
        short = self.counts.complete < self.settings.trials or self.reference < len(self.settings.seeds)
        return 3 if short else 0

    def lines(self) -> list[str]:
        """A summary."""
        settings, best = self.settings, self.study.best if self.study else None
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
            found.append(f"some are left: {self.advice}")
        if self.abandoned:
            found.append(f"given up: {self.counts.failed} trials diverged")
        return [*found, *(f"failed: {error}" for error in self.errors)]

    def row(self) -> dict[str, Any]:
        """A row of a table of studies."""
        best = self.study.best if self.study else None
        return {
            "Study": self.settings.name,
            "Trials": self.settings.trials,
            **vars(self.counts),
            "Best, %": f"{best.value:.2f}" if best else "-",
            "alpha": f"{best.alpha:.3f}" if best else "-",
            "delta_t": str(best.delta_t) if best else "-",
            "Seeds": len(self.settings.seeds),
            "Reference": self.reference,
        }


def main(asked: Sequence[Settings], options: Options) -> int:
    """Run or resume each study in turn and print its progress; returns the overall exit status."""
    check(options)
    statuses = []
    for settings in asked:
        print(f"study {settings.name}", flush=True)
        outcome = run(settings, options)
        print("\n".join(outcome.lines()), flush=True)
        statuses.append(outcome.status)
        if outcome.stopped:
            statuses += [3] * (len(statuses) < len(asked))
            break
    return _overall(statuses)


def show(asked: Sequence[Settings], results: str | Path, storage: str | None) -> int:
    """Print a table of the studies and return their overall exit status. Starts nothing."""
    found = [look(settings, results, storage) for settings in asked]
    print(pd.DataFrame([outcome.row() for outcome in found]).to_string(index=False))
    return _overall([outcome.status for outcome in found])


def _overall(statuses: Sequence[int]) -> int:
    """The exit status of several studies: an error outweighs what is left."""
    return 1 if 1 in statuses else max(statuses)


def run(settings: Settings, options: Options) -> Outcome:
    """Run or resume a study until its trials and reference runs are complete, or until the time limit.

    Ctrl-C or SIGTERM stops every run after its current epoch, a second one at once. A trial fails if one of
    its runs diverges; after as many failures as there should be trials, the study is abandoned. Any other
    failure of a run (disk or memory full) ends its worker, and the same command repeats the trial. Raises
    StoreError, ConfigError and WriteError.
    """
    study = begin(settings, options.results, options.storage)
    before = _written(options.results)
    stopping = threading.Event()
    errors: list[str] = []

    if options.deadline is not None:  # leave time for processes to end
        left = options.deadline - time.time()
        options = replace(options, deadline=options.deadline - min(5.0, 0.1 * max(left, 0)))
    say = partial(print, flush=True)
    with heard(stopping.set, say):
        if options.workers == 1:
            errors += _trials(settings, options, stopping.is_set, say)
        elif not _over(study, settings):
            errors += _together(settings, options, stopping)
        stopped = stopping.is_set() or (options.deadline is not None and time.time() >= options.deadline)
    if _over(study, settings):
        errors.clear()  # other workers have completed the trials
        if not stopped:
            limit = None if options.deadline is None else options.deadline - time.time()
            reference = runner.run(
                settings.reference(),
                options,
                workers=min(options.workers, len(settings.seeds)),
                time_limit=limit,
            )
            errors += [f"{name}: {error}" for name, error in reference.failed.items()]
            stopped = reference.reason is not None
    else:
        stopped = stopped or not errors
    outcome = _outcome(settings, options.results, study)
    outcome.errors, outcome.stopped = errors, stopped
    if options.deadline is not None and not stopping.is_set() and _written(options.results) == before:
        outcome.advice = "no epoch fits into the time limit: give a longer one"
    return outcome


def _written(results: str | Path) -> dict[Path, int]:
    """The checkpoints and records in a folder, with their modification times."""
    found = {}
    for path in [*Path(results).glob(".checkpoints/*.pt"), *records.paths(results)]:
        with suppress(FileNotFoundError):  # its run may end meanwhile
            found[path] = path.stat().st_mtime_ns
    return found


def begin(settings: Settings, results: str | Path, storage: str | None = None) -> optuna.Study:
    """Open the study in its storage. A new one starts with the trials of its exported file, if any.

    Raises StoreError for a storage that cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mark = _file(settings, results, "place")  # identifies this results folder
    with records.writing(mark.parent):
        mark.parent.mkdir(parents=True, exist_ok=True)
    with records.writing(mark.parent), _lock(settings, results), _clear(settings, results, storage):
        study = optuna.create_study(
            storage=_open(storage or _default(settings, results)),
            sampler=Sampler(settings.sampler_seed),
            study_name=settings.name,
            direction="maximize",
            load_if_exists=True,
        )
        if not mark.exists():
            records.write_whole(mark, uuid.uuid4().hex.encode())
        if "place" not in study.user_attrs:
            _restore(study, settings, results)
            study.set_user_attr("place", mark.read_text())
        if study.user_attrs["place"] != mark.read_text():
            raise StoreError(
                f"study {settings.name} was started with another results folder than {results}, "
                "which has the records of its trials"
            )
        studies.save(data(study, settings), results)
    return study


def counts(study: optuna.Study) -> Counts:
    """The number of trials in each state."""
    states = [trial.state for trial in _counted(study, running=True)]
    each = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
    return Counts(*(states.count(state) for state in each))


def data(study: optuna.Study, settings: Settings) -> Study:
    """The study as plain data, with its completed and failed trials."""
    attributes = study.user_attrs
    return Study(
        name=settings.name,
        settings=settings,
        trials=[_data(number, trial, settings) for number, trial in enumerate(_counted(study))],
        **{key: attributes[key] for key in ("sampler", "optuna", "commit", "clean")},
    )


def look(settings: Settings, results: str | Path, storage: str | None) -> Outcome:
    """The state of a study, from its storage or else from its exported file. Starts nothing."""
    with _clear(settings, results, storage):
        there = storage and settings.name in optuna.get_all_study_names(_open(storage))
    there = there or (storage is None and _file(settings, results, "db").exists())
    return _outcome(settings, results, begin(settings, results, storage) if there else None)


def _outcome(settings: Settings, results: str | Path, study: optuna.Study | None) -> Outcome:
    """The state of a study; without `study`, that of its exported file."""
    path = studies.path_of(settings, results)
    known, found = None, Counts()
    if study is not None:
        known, found = data(study, settings), counts(study)
    elif path.exists():
        known = studies.load(path)
        found = Counts(len(known.complete), len(known.trials) - len(known.complete))
    reference = sum(records.path_of(config, results).exists() for config in settings.reference())
    return Outcome(settings, known, found, reference)


def _trials(
    settings: Settings, options: Options, told: Callable[[], bool], say: Callable[[str], None]
) -> list[str]:
    """Run trials until none are left or `told` returns True; returns the error that ended it, if any."""
    study = begin(settings, options.results, options.storage)
    estimate = estimator(options.device, options.results) if options.deadline else None
    epoch = runner.epoch_seconds(settings.config, estimate)

    def stop() -> bool:
        return told() or (options.deadline is not None and time.time() >= options.deadline)

    def objective(trial: optuna.Trial) -> float:
        began = time.monotonic()
        if sum(number < trial.number for number in _begun(study)) >= settings.trials:
            return float("nan")  # another worker began the last one at the same moment
        low, high, step = settings.delta_t
        alpha = trial.suggest_float("alpha", *settings.alpha)
        delta_t = trial.suggest_int("delta_t", low, high, step=step)
        what = f"trial {trial.number}: alpha {alpha:.3f}, delta_t {delta_t}"
        values = []
        for config in settings.runs(alpha, delta_t):
            result = _run(config, options, stop, epoch)
            if result.outcome == "diverged":
                trial.set_user_attr("error", f"{config.name} diverged")
                say(f"{what}: FAILED, {config.name} diverged")
                return float("nan")  # which Optuna counts as a failure
            if result.outcome != "finished":
                study.enqueue_trial({"alpha": alpha, "delta_t": delta_t})
                reason = f"{config.name}: {result.error}" if result.error else ""
                raise Again(f"trial {trial.number}: {reason}" if reason else "")
            accuracy = records.load(records.path_of(config, options.results)).validation_accuracy
            assert accuracy is not None, "a study asks for validation images"
            values.append(accuracy)
        say(f"{what}: {mean(values):.2f} % in {duration(time.monotonic() - began)}")
        return mean(values)

    try:
        while not (stop() or _over(study, settings)):
            if len(_begun(study)) >= settings.trials:  # others run the rest, but may fail
                time.sleep(POLL)
                fail_stale_trials(study)
                continue
            study.optimize(objective, n_trials=1)
            with _lock(settings, options.results):
                studies.save(data(study, settings), options.results)
    except Again as error:
        return [str(error)] if str(error) else []
    except (OneLineError, OSError, optuna.exceptions.OptunaError) as error:
        return [runner.line_of(error)]
    return []


def _run(config: RunConfig, options: Options, stop: Callable[[], bool], epoch: float | None) -> runner.Result:
    """Train one run, or wait for the process that trains it."""
    until = runner.until(config, stop, epoch=epoch, deadline=options.deadline)
    how = replace(options, device=options.device.split(",")[0], stop=until)
    while (result := runner.run_one(config, how)).outcome == "busy":
        if stop():
            return runner.Result("stopped")
        time.sleep(POLL)
    return result


def _together(settings: Settings, options: Options, stopping: threading.Event) -> list[str]:
    """Run a study with several Dask workers; returns their errors."""
    from rigl.campaign.cluster import connect

    topic, errors = f"rigl-{uuid.uuid4().hex}", []
    devices, threads = tasks.shares(options.device, options.workers)
    with connect(None, workers=options.workers, lanes=1, device=options.device) as client:
        client.subscribe_topic(topic, lambda event: print(event[1], flush=True))
        futures = client.map(
            _worker,
            [settings] * options.workers,
            [replace(options, device=devices[i % len(devices)]) for i in range(options.workers)],
            topic=topic,
            threads=threads,
            pure=False,
        )
        while not (stopping.is_set() or all(future.done() for future in futures)):
            time.sleep(POLL / 5)
        if stopping.is_set():
            client.run(tasks.tell_to_stop, topic, wait=False)
        for future in futures:
            try:
                errors += future.result()
            except Exception as error:
                errors.append(runner.line_of(error))
    return errors


def _worker(settings: Settings, options: Options, topic: str, threads: int) -> list[str]:
    """A Dask task: run trials until none are left."""
    from distributed import get_worker

    worker = get_worker()
    use_threads(threads)
    warnings.showwarning = lambda message, *_, **__: worker.log_event(topic, f"warning: {message}")
    return _trials(
        settings, options, lambda: topic in tasks.STOPPED, lambda text: worker.log_event(topic, text)
    )


def _counted(study: optuna.Study, running: bool = False) -> list[FrozenTrial]:
    """The complete and diverged trials, and the running ones if asked; without those to be repeated."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE
        or (trial.state == TrialState.FAIL and "error" in trial.user_attrs)
        or (running and trial.state == TrialState.RUNNING)
    ]


def _begun(study: optuna.Study) -> list[int]:
    """The numbers of the complete and the running trials."""
    return [trial.number for trial in _counted(study, running=True) if trial.state != TrialState.FAIL]


def _over(study: optuna.Study, settings: Settings) -> bool:
    """Whether enough trials are complete, or as many have failed."""
    found = counts(study)
    return found.complete >= settings.trials or found.failed >= settings.trials


def _data(number: int, trial: FrozenTrial, settings: Settings) -> Trial:
    alpha, delta_t = float(trial.params["alpha"]), int(trial.params["delta_t"])
    return Trial(
        number=number,
        state="complete" if trial.state == TrialState.COMPLETE else "failed",
        alpha=alpha,
        delta_t=delta_t,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        runs=[config.name for config in settings.runs(alpha, delta_t)],
        error=trial.user_attrs.get("error"),
    )


def _restore(study: optuna.Study, settings: Settings, results: str | Path) -> None:
    """Initialise a new study, with its provenance and the trials of the exported study, if any."""
    path = studies.path_of(settings, results)
    commit, clean = provenance.commit()
    sampler = f"TPESampler(multivariate={MULTIVARIATE})"
    attributes = {"sampler": sampler, "optuna": optuna.__version__, "commit": commit, "clean": clean}
    if path.exists():
        known = studies.load(path)
        attributes = {key: getattr(known, key) for key in attributes}
        # Some may exist already, if this was interrupted.
        for trial in known.trials[len(study.get_trials(deepcopy=False)) :]:
            study.add_trial(_restored(trial, settings))
    for key, value in attributes.items():
        study.set_user_attr(key, value)


def _restored(trial: Trial, settings: Settings) -> FrozenTrial:
    low, high, step = settings.delta_t
    return optuna.create_trial(
        state=TrialState.COMPLETE if trial.state == "complete" else TrialState.FAIL,
        value=trial.value,
        params={"alpha": trial.alpha, "delta_t": trial.delta_t},
        distributions={
            "alpha": FloatDistribution(*settings.alpha),
            "delta_t": IntDistribution(low, high, step=step),
        },
        user_attrs={"error": trial.error} if trial.error else {},
    )


def _again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Repeat the trial of a process that died."""
    if len(trial.params) == 2:  # else its parameters were not drawn yet
        study.enqueue_trial(trial.params)


def _file(settings: Settings, results: str | Path, suffix: str) -> Path:
    """A file beside the records that keeps a study: its database, its lock, or its mark."""
    return Path(results) / ".studies" / f"{settings.name}.{suffix}"


def _lock(settings: Settings, results: str | Path) -> FileLock:
    return FileLock(_file(settings, results, "lock"))


def _default(settings: Settings, results: str | Path) -> str:
    """The URL of a study's own SQLite file."""
    path = _file(settings, results, "db").resolve()
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _open(url: str) -> RDBStorage:
    # An experimental feature of Optuna, whose version is locked.
    warnings.filterwarnings(
        "ignore", "Argument ``heartbeat|fail_stale_trials ", optuna.exceptions.ExperimentalWarning
    )
    return RDBStorage(
        url,
        engine_kwargs={"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite") else None,
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=_again,
    )


@contextmanager
def _clear(settings: Settings, results: str | Path, storage: str | None) -> Iterator[None]:
    """Turn errors of a database or its driver into a StoreError of one line."""
    url, name = storage or _default(settings, results), (storage or "").partition("://")[0]
    try:
        try:
            name = make_url(url).render_as_string()
        except ValueError as error:
            raise SQLAlchemyError(str(error)) from None
        yield
    except (SQLAlchemyError, ImportError, optuna.exceptions.OptunaError) as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise StoreError(
            f"storage {brief(name, 80 if storage else 300)} cannot be used: {brief(reason, 300)}"
        ) from None
