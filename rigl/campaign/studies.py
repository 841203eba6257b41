"""Hyperparameter studies as plain data: their settings, their trials, and the runs of each trial.

`rigl.campaign.tuning` creates them from Optuna studies. This module does not import Optuna.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rigl.campaign.experiments import TUNING, usual_densities
from rigl.campaign.request import need, numbers, whole
from rigl.training.config import ConfigError, RunConfig, choose_protocol
from rigl.training.records import AtLeastOne, Percent, RecordError, Share, read, readable, write_whole

REFERENCE = {"alpha": 0.3, "delta_t": 100}
ASKED = ("protocol", "dataset", "model", "method", "density", "distribution", "epochs", "trials", "seeds")


class Settings(BaseModel):
    """The settings of a study: bounds of `alpha`, and first, last and step of `delta_t`, for the run
    `config`. The alpha and delta_t of `config` are the reference, and its seed is the first of `seeds`.

    A trial's value is the mean over `seeds` of the validation accuracy after the last epoch, in percent.
    `sampler_seed` determines the trials of a study with one worker.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    config: RunConfig
    seeds: tuple[int, ...]
    alpha: tuple[float, float]
    delta_t: tuple[int, int, int]
    trials: int
    sampler_seed: int = 0

    @property
    def name(self) -> str:
        """A file name: ``rigl-erk_d0.1_lenet-300-100_laptop_study_1a2b3c4d``. It does not depend on the
        number of trials, so that a study can be extended."""
        config = self.config
        text = json.dumps(self.model_dump(mode="json", exclude={"trials", "config"}), sort_keys=True)
        digits = hashlib.sha256((text + config.run_id).encode()).hexdigest()[:8]
        return "_".join([*config.name.split("_")[:-2], "study", digits])

    def runs(self, alpha: float, delta_t: int) -> list[RunConfig]:
        """The runs of a trial, one per seed."""
        return [self.config.but(alpha=alpha, delta_t=delta_t, seed=seed) for seed in self.seeds]

    def reference(self) -> list[RunConfig]:
        """The reference runs, with the alpha and delta_t of `config`."""
        return self.runs(self.config.alpha, self.config.delta_t)


class Trial(BaseModel):
    """A completed or failed trial: its `value` in percent or its error, and the names of its records."""

    model_config = ConfigDict(extra="forbid")
    number: int = Field(ge=0)
    state: Literal["complete", "failed"]
    alpha: Share
    delta_t: AtLeastOne
    value: Percent | None
    runs: list[str]
    error: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Trial:
        if (self.state == "complete") != (self.value is not None):
            raise ValueError(f"trial {self.number}: state={self.state!r} with value={self.value}")
        return self


class Study(BaseModel):
    """A study and its trials; `commit`, `clean` and the version of `optuna` are those at its start."""

    model_config = ConfigDict(extra="forbid")
    schema_version: Literal[1] = 1
    name: str
    settings: Settings
    sampler: str
    optuna: str
    commit: str | None
    clean: bool | None
    trials: list[Trial]

    @property
    def complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> Trial | None:
        """The first trial with the highest value; None if no trial is complete."""
        return max(self.complete, key=lambda trial: (trial.value, -trial.number), default=None)


def path_of(settings: Settings, root: str | Path = "results") -> Path:
    """The path of a study: ``root/studies/NAME.json``."""
    return Path(root) / "studies" / f"{settings.name}.json"


def save(study: Study, root: str | Path = "results") -> Path:
    """Write a study atomically, unless its file is up to date, and return its path."""
    path, content = path_of(study.settings, root), _json(study).encode()
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content)
    return path


def load(path: str | Path) -> Study:
    """Read a study. Raises RecordError, naming the file, if it is not valid."""
    study = read(Study, path)
    if not study.name == study.settings.name == Path(path).stem:
        raise RecordError(f"{path}: contains the study {study.settings.name}")
    return study


def studies(root: str | Path = "results") -> Iterator[Study]:
    """Every study under `root`, by name. Damaged ones are skipped with a warning."""
    for _, study in readable(load, sorted(Path(root).glob("studies/*.json"))):
        yield study


def _json(study: Study) -> str:
    """Indented, but with every trial on one line, for short files and readable diffs."""
    fields = study.model_dump(mode="json")
    trials = ",\n".join(f"    {json.dumps(trial)}" for trial in fields.pop("trials"))
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
    return ",\n".join(["{\n" + lines[0], *lines[1:], f'  "trials": [\n{trials}\n  ]']) + "\n}\n"


def request(
    *,
    protocol: str = "laptop",
    dataset: str | None = None,
    model: str | None = None,
    method: str = "rigl",
    density: str | None = None,
    distribution: str | None = None,
    epochs: int | None = None,
    trials: int = TUNING.trials,
    seeds: str = "0,1,2",
    sampler_seed: int = 0,
) -> list[Settings]:
    """The settings of a study for each density and distribution, which are comma-separated.

    density       default: the report's, or `rigl.campaign.experiments.LAPTOP_DENSITIES` under ``"laptop"``
    distribution  default: both of the report's
    epochs        default: the protocol's

    Raises ConfigError, one line, for invalid arguments, and if Optuna is not installed.
    """
    need("optuna", "tuning needs")
    name, data = choose_protocol(protocol, dataset, cuda=False)
    shares = usual_densities(name, data, TUNING.densities)
    given = numbers("density", density, float) if density else shares
    return [
        settings(
            RunConfig(
                **REFERENCE,
                protocol=protocol,
                dataset=dataset,
                model=model,
                method=method,
                density=share,
                distribution=masks,
                epochs=epochs,
            ),
            trials=trials,
            seeds=numbers("seeds", seeds, int),
            sampler_seed=sampler_seed,
        )
        for share in given
        for masks in (distribution.split(",") if distribution else TUNING.distributions)
    ]


def settings(
    config: RunConfig,
    *,
    trials: int = TUNING.trials,
    seeds: tuple[int, ...] = TUNING.seeds,
    sampler_seed: int = 0,
) -> Settings:
    """The report's search space for `config`. Raises ConfigError if the method does not use it."""
    if not seeds:
        raise ConfigError("seeds: a trial needs at least one seed")
    tried = config.but(alpha=TUNING.alpha[1], delta_t=TUNING.delta_t[1])
    if (tried.alpha, tried.delta_t) != (TUNING.alpha[1], TUNING.delta_t[1]):
        raise ConfigError(f"method={config.method!r} does not use both alpha and delta_t: nothing to search")
    if not config.validation:
        raise ConfigError("validation=0: trials need validation images")
    found = Settings(
        config=config.but(seed=seeds[0]),
        seeds=seeds,
        alpha=TUNING.alpha,
        delta_t=TUNING.delta_t,
        trials=whole("trials", trials, 1),
        sampler_seed=whole("sampler_seed", sampler_seed, 0),
    )
    found.reference()
    return found
