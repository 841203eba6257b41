"""A study in an Optuna storage, shared among processes by locks that the system takes from one that dies.

A trial that is running belongs to whoever holds its lock. Where nobody does, its process was stopped or
killed, and the next one goes on with that same trial, whose runs go on from their records and checkpoints. So
nothing has to be tried again under another number, and no clock says when somebody counts as dead.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from rigl.campaign import studies
from rigl.campaign.studies import Settings, Study, Trial
from rigl.training import provenance, records
from rigl.training.config import ConfigError, RunConfig

# Each knob by itself, as in the version that the report used; Optuna 5 draws all of them together.
MULTIVARIATE = False
FINISHED = (TrialState.COMPLETE, TrialState.FAIL)
# Seconds that a process waits for another one's write to SQLite.
PATIENCE = 60


class StoreError(ConfigError):
    """A storage that cannot be used; the message names it, without its password."""


class Sampler(BaseSampler):
    """TPE whose draws for a trial depend on the study's seed, the trial's number and the trials so far: it
    remembers nothing, so a study with one worker that was killed goes on as it would have."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = TPESampler(seed=seed, multivariate=MULTIVARIATE)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        mixed = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
        self._tpe = TPESampler(seed=int(mixed[0]), multivariate=MULTIVARIATE)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> Any:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: Any
    ) -> Any:
        return self._tpe.sample_independent(study, trial, name, distribution)


@dataclass
class Taken:
    """A trial that this process holds."""

    trial: optuna.Trial
    alpha: float
    delta_t: int
    runs: list[RunConfig]
    lock: FileLock


@dataclass(frozen=True)
class Counts:
    """Trials of a study: complete, failed, running in some process right now, and begun but held by none."""

    complete: int = 0
    failed: int = 0
    running: int = 0
    begun: int = 0


class Store:
    """A study, begun or gone on with. Raises StoreError for a storage that cannot be used."""

    def __init__(self, settings: Settings, results: str | Path = "results", storage: str | None = None):
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # what there is to say, `work` says
        self.settings, self.results = settings, Path(results)
        self._folder = self.results / ".studies"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / f"{settings.name}.lock")
        with self._lock, _clear(storage):
            self.study = optuna.create_study(
                storage=_open(storage or default_storage(settings, results)),
                sampler=Sampler(settings.sampler_seed),
                study_name=settings.name,
                direction="maximize",
                load_if_exists=True,
            )
            if "place" not in self.study.user_attrs:
                self._begin()
            if self.study.user_attrs["place"] != self._place():
                raise StoreError(
                    f"study {settings.name} was begun with another folder of results than {results}, "
                    "and its trials' records and locks are there"
                )
            self._export()

    def take(self) -> Taken | None:
        """The next trial, which this process then holds: one that was begun and that nobody holds, else a new
        one. None where there is none to take: all are complete, too many failed, or others hold the rest."""
        with self._lock:
            trials = self.study.get_trials(deepcopy=False)
            for known in trials:
                if known.state == TrialState.RUNNING and (lock := self._grab(known.number)):
                    # A Trial made anew keeps the parameters that it has; those it lacks are drawn.
                    return self._taken(optuna.Trial(self.study, known._trial_id), lock)
            occupied = sum(known.state != TrialState.FAIL for known in trials)
            if self.is_over(trials) or occupied >= self.settings.trials:
                return None
            trial = self.study.ask()
            new = self._grab(trial.number)
            assert new is not None, "nobody knows of a new trial"
            return self._taken(trial, new)

    def tell(self, taken: Taken, value: float | None, error: str | None = None) -> Study:
        """Enter a trial's value, or None and why it has none; the study after it."""
        with self._lock:
            taken.trial.set_user_attr("error", error)
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            self.study.tell(taken.trial, value, state=state)
            taken.lock.release()
            return self._export()

    def is_over(self, trials: list[FrozenTrial] | None = None) -> bool:
        """Whether there is nothing left to do: enough trials are complete, or as many have failed."""
        if trials is None:
            trials = self.study.get_trials(deepcopy=False)
        count = self.settings.trials
        complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
        return complete >= count or sum(trial.state == TrialState.FAIL for trial in trials) >= count

    def counts(self) -> Counts:
        """How many trials are in which state now."""
        with self._lock:
            states = [trial.state for trial in self.study.get_trials(deepcopy=False)]
            on = [trial.number for trial in self.study.get_trials(states=(TrialState.RUNNING,))]
            free = 0
            for number in on:
                if lock := self._grab(number):
                    lock.release()
                    free += 1
        complete, failed = (states.count(state) for state in FINISHED)
        return Counts(complete, failed, len(on) - free, free)

    def data(self) -> Study:
        """The study as plain data, with the trials that are over."""
        attributes = self.study.user_attrs
        return Study(
            name=self.settings.name,
            settings=self.settings,
            trials=[self._data(trial) for trial in self.study.get_trials(states=FINISHED)],
            **{key: attributes[key] for key in ("sampler", "optuna", "commit", "clean")},
        )

    def _data(self, trial: FrozenTrial) -> Trial:
        alpha, delta_t = float(trial.params["alpha"]), int(trial.params["delta_t"])
        return Trial(
            number=trial.number,
            state="complete" if trial.state == TrialState.COMPLETE else "failed",
            alpha=alpha,
            delta_t=delta_t,
            value=trial.value,
            runs=[config.name for config in self.settings.runs(alpha, delta_t)],
            error=trial.user_attrs.get("error"),
        )

    def _begin(self) -> None:
        """Set down where the study comes from; it begins with the trials of the exported study, if any."""
        path = studies.path_of(self.settings, self.results)
        commit, clean = provenance.commit()
        sampler = f"TPESampler(multivariate={MULTIVARIATE})"
        attributes = {"sampler": sampler, "optuna": optuna.__version__, "commit": commit, "clean": clean}
        if path.exists():
            known = studies.load(path)
            attributes = {key: getattr(known, key) for key in attributes}
            # Some may be there already, where this was cut short.
            for trial in known.trials[len(self.study.get_trials(deepcopy=False)) :]:
                self.study.add_trial(_restored(trial, self.settings))
        for key, value in attributes.items():
            self.study.set_user_attr(key, value)
        self.study.set_user_attr("place", self._place())

    def _place(self) -> str:
        """What tells this folder of results from others."""
        path = self._folder / f"{self.settings.name}.place"
        if not path.exists():
            records.write_whole(path, uuid.uuid4().hex.encode())
        return path.read_text()

    def _export(self) -> Study:
        study = self.data()
        studies.save(study, self.results)
        return study

    def _grab(self, number: int) -> FileLock | None:
        """The lock of a trial, held, unless another process holds it."""
        lock = FileLock(self._folder / f"{self.settings.name}.{number}.lock")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            return lock
        return None

    def _taken(self, trial: optuna.Trial, lock: FileLock) -> Taken:
        low, high, step = self.settings.delta_t
        alpha = trial.suggest_float("alpha", *self.settings.alpha)
        delta_t = trial.suggest_int("delta_t", low, high, step=step)
        return Taken(trial, alpha, delta_t, self.settings.runs(alpha, delta_t), lock)


def default_storage(settings: Settings, results: str | Path) -> str:
    """A study's own SQLite file, ``.studies/NAME.db`` under `results`."""
    path = (Path(results) / ".studies" / f"{settings.name}.db").resolve()
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def exists(settings: Settings, results: str | Path, storage: str | None = None) -> bool:
    """Whether a study was begun in its storage. Raises StoreError for one that cannot be used."""
    if storage is None:
        return (Path(results) / ".studies" / f"{settings.name}.db").exists()
    with _clear(storage):
        return settings.name in optuna.get_all_study_names(_open(storage))


def _open(url: str) -> RDBStorage:
    patience = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite") else None
    return RDBStorage(url, engine_kwargs=patience)


@contextmanager
def _clear(storage: str | None) -> Iterator[None]:
    """What a database or its driver cannot do, in one line."""
    try:
        yield
    except (SQLAlchemyError, ImportError, optuna.exceptions.OptunaError) as error:
        try:
            name = make_url(storage).render_as_string() if storage else "SQLite"
        except SQLAlchemyError:
            name = str(storage).partition("://")[0]
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise StoreError(f"storage {name} cannot be used: {reason}") from None


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
        user_attrs={"error": trial.error},
    )
