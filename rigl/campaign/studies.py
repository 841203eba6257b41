"""A search for alpha and Delta-T as plain data: what was asked, every trial, and the runs behind each.

Made from an Optuna study by `rigl.campaign.tuning`; asked for and read here without Optuna.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rigl.campaign.experiments import TUNING, usual_densities
from rigl.campaign.request import numbers
from rigl.training.config import ConfigError, RunConfig, choose_protocol, shown
from rigl.training.records import AtLeastOne, Percent, RecordError, Share, read, readable, write_whole

REFERENCE = {"alpha": 0.3, "delta_t": 100}
ASKED = ("protocol", "dataset", "model", "method", "density", "distribution", "epochs", "trials", "seeds")


class Settings(BaseModel):
    """What a study searches: `alpha` between two bounds and `delta_t` in first, last and step, for the run
    `config`, whose own alpha, delta_t and seed make it the reference at the first of `seeds`.

    A trial's value is the mean over `seeds` of the validation accuracy after the last epoch, in percent.
    `sampler_seed` decides what a study with one worker tries.
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
        """A file name: ``rigl-erk_d0.1_lenet-300-100_laptop_study_1a2b3c4d``. How many trials there are does
        not enter, so that a study can be made longer."""
        config = self.config
        text = json.dumps(self.model_dump(mode="json", exclude={"trials", "config"}), sort_keys=True)
        digits = hashlib.sha256((text + config.run_id).encode()).hexdigest()[:8]
        return "_".join([*config.name.split("_")[:-2], "study", digits])

    def runs(self, alpha: float, delta_t: int) -> list[RunConfig]:
        """The runs of a trial, one a seed."""
        knobs = {**self.config.model_dump(), "alpha": alpha, "delta_t": delta_t}
        return [RunConfig(**{**knobs, "seed": seed}) for seed in self.seeds]

    def reference(self) -> list[RunConfig]:
        """The runs that a trial is held against, with the alpha and delta_t of `config`."""
        return self.runs(self.config.alpha, self.config.delta_t)


class Trial(BaseModel):
    """A trial that is over: its `value` in percent, or why it `failed`, and the names of its records."""

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
    """A study and its trials; `commit`, `clean` and `optuna` (its version) are those it was begun with."""

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
        """The trial of the highest value, of equal ones the first; None before any is complete."""
        return max(self.complete, key=lambda trial: (trial.value, -trial.number), default=None)


def path_of(settings: Settings, root: str | Path = "results") -> Path:
    """Where a study lies: ``root/studies/NAME.json``."""
    return Path(root) / "studies" / f"{settings.name}.json"


def save(study: Study, root: str | Path = "results") -> Path:
    """Write a study, whole or not at all, unless its file already holds it; its path."""
    path, content = path_of(study.settings, root), _json(study).encode()
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content)
    return path


def load(path: str | Path) -> Study:
    """Read a study. Raises RecordError, naming the file, where it is not a valid one."""
    study = read(Study, path)
    if not study.name == study.settings.name == Path(path).stem:
        raise RecordError(f"{path}: holds the study {study.settings.name}")
    return study


def studies(root: str | Path = "results") -> Iterator[Study]:
    """Every study under `root`, by name. A damaged one is left out with a warning that names it."""
    for _, study in readable(load, sorted(Path(root).glob("studies/*.json"))):
        yield study


def _json(study: Study) -> str:
    """Indented, but with every trial on one line: short, and a diff can be read."""
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
    """A study for each density and distribution: numbers and names by commas.

    density       None is the report's, or, under ``"laptop"``, `rigl.campaign.experiments.LAPTOP_DENSITIES`
    distribution  None is both of the report's
    epochs        None is the protocol's own

    Raises ConfigError, one line, for what does not exist or fit together, and where Optuna is missing.
    """
    check_optuna()
    name, data = choose_protocol(protocol, dataset, cuda=False)
    shares = usual_densities(name, data, TUNING.densities)
    given = [float(each) for each in numbers("density", density, float)] if density else shares
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
            seeds=tuple(int(each) for each in numbers("seeds", seeds, int)),
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
    """The report's search space for `config`. Raises ConfigError where there is nothing to search."""
    for name, value in (("trials", trials), ("sampler_seed", sampler_seed)):
        least = 1 if name == "trials" else 0
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(
                f"{name}={shown(value)} is not right: it should be a whole number from {least} on"
            )
    if not seeds:
        raise ConfigError("seeds: a trial needs at least one")
    tried = RunConfig(**{**config.model_dump(), "alpha": TUNING.alpha[1], "delta_t": TUNING.delta_t[1]})
    if (tried.alpha, tried.delta_t) != (TUNING.alpha[1], TUNING.delta_t[1]):
        raise ConfigError(f"method={config.method!r} does not use both alpha and delta_t: nothing to search")
    if not config.validation:
        raise ConfigError("validation=0 leaves no images to judge a trial by")
    found = Settings(
        config=RunConfig(**{**config.model_dump(), "seed": seeds[0]}),
        seeds=seeds,
        alpha=TUNING.alpha,
        delta_t=TUNING.delta_t,
        trials=trials,
        sampler_seed=sampler_seed,
    )
    found.reference()
    return found


def check_optuna() -> None:
    """Raise ConfigError where Optuna is missing."""
    if find_spec("optuna") is None:
        raise ConfigError('tuning needs optuna: pip install -e ".[campaign]"')
