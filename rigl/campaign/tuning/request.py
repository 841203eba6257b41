"""Which studies are asked for: as text, checked before anything heavy is imported."""

from __future__ import annotations

from importlib.util import find_spec

from rigl.campaign.experiments import TUNING, usual_densities
from rigl.campaign.request import numbers
from rigl.campaign.studies import Settings
from rigl.training.config import ConfigError, RunConfig, choose_protocol

REFERENCE = {"alpha": 0.3, "delta_t": 100}
ASKED = ("protocol", "dataset", "model", "method", "density", "distribution", "epochs", "trials", "seeds")


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
            raise ConfigError(f"{name}={value!r} is not right: it should be a whole number from {least} on")
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
        raise ConfigError("tuning needs optuna: pip install optuna")
