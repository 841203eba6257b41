"""Helpers of the campaign and tuning notebooks: check their parameters before anything starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rigl.campaign import runner, status, studies
from rigl.campaign.request import Request, need, request, seconds, whole
from rigl.campaign.runner import Outcome
from rigl.campaign.status import State
from rigl.campaign.studies import Settings
from rigl.training import records
from rigl.training.config import ConfigError, flag, parameters
from rigl.training.estimate import Estimator, duration, estimator
from rigl.training.project import results_folder

if TYPE_CHECKING:
    from rigl.campaign.tuning import Options
    from rigl.campaign.tuning import Outcome as TuningOutcome

ASKED = ("tables", "protocol", "seeds", "densities", "dataset", "model")
PARAMETERS = (*ASKED, "run", "time_limit", "workers", "device", "results")
TUNING_PARAMETERS = (
    *studies.ASKED,
    *("sampler_seed", "storage", "workers", "time_limit", "device", "results", "tracker"),
)
# Papermill converts texts such as "0" and "0.05" to numbers.
TEXTS = (*ASKED, "density", "distribution", "device", "time_limit", "storage", "tracker")


@dataclass(frozen=True)
class Campaign:
    """A campaign as described by a notebook's parameters."""

    request: Request
    results: Path
    device: str
    workers: int
    time_limit: float | None
    run: bool
    estimate: Estimator

    def plan(self) -> pd.DataFrame:
        """The current `rigl.campaign.status.plan_table`."""
        return status.plan_table(self.request, self._look(), self.estimate)

    def status(self) -> pd.DataFrame:
        """The current `rigl.campaign.status.status_table`."""
        return status.status_table(self.request, self._look())

    def summary(self) -> str:
        """What is done and left, and each run that is running, begun, diverged or failed."""
        states = self._look()
        lines = status.headline(states, self.estimate, self.workers, self.device)
        return "\n".join(lines + status.details(states))

    def _look(self) -> list[State]:
        return status.look(self.request.runs(), self.results)

    def train(self) -> Outcome | None:
        """Train what is left, if `run` is set."""
        if not self.run:
            return None
        return runner.run(
            self.request.runs(),
            results=self.results,
            device=self.device,
            workers=self.workers,
            time_limit=self.time_limit,
            estimate=self.estimate,
        )


def configure(namespace: Mapping[str, Any], before: set[str]) -> Campaign:
    """The campaign that a notebook's parameters describe; `namespace` and `before` are as in
    `rigl.training.notebook.configure`. Raises ConfigError, one line, for invalid parameters."""
    given = _given(namespace, before, PARAMETERS, {"before", "campaign", "outcome"})
    results, device = results_folder(given.get("results", "results")), given.get("device", "auto")
    return Campaign(
        request=request(**{name: given[name] for name in ASKED if name in given}),
        results=results,
        device=device,
        workers=whole("workers", given.get("workers", 1), 1),
        time_limit=seconds(given["time_limit"]) if "time_limit" in given else None,
        run=flag("run", given.get("run", False)),
        estimate=estimator(device, results),
    )


@dataclass(frozen=True)
class Tuning:
    """A study as described by a notebook's parameters."""

    settings: Settings
    options: Options

    def summary(self) -> str:
        """The study, its progress, and how long the rest should take with one worker."""
        from rigl.campaign import tuning

        settings, results = self.settings, self.options.results
        complete = tuning.look(settings, results, self.options.storage).counts.complete
        left = max(settings.trials - complete, 0)
        lines = [f"study {settings.name}", f"{complete} of {settings.trials} trials complete"]
        if left:
            each = estimator(self.options.device, results)(settings.config)
            time = f", about {duration(left * len(settings.seeds) * each.seconds)}" if each else ""
            lines.append(f"left: {left}{time}")
        return "\n".join(lines)

    def run(self) -> TuningOutcome:
        """Run or resume the study until it is done or the time limit is reached."""
        from rigl.campaign import tuning

        return tuning.run(self.settings, self.options)

    def frame(self) -> pd.DataFrame:
        """The current records."""
        return records.frame(self.options.results)


def configure_tuning(namespace: Mapping[str, object], before: set[str]) -> Tuning:
    """The study that a notebook's parameters describe; `namespace` and `before` are as in
    `rigl.training.notebook.configure`. Raises ConfigError, one line, for invalid parameters."""
    begun = time.time()
    need("optuna", "tuning needs")
    from rigl.campaign.tuning import Options, check

    later = {"before", "tuning", "outcome", "study", "frame"}
    given = _given(namespace, before, TUNING_PARAMETERS, later)
    asked = studies.request(
        **{name: given[name] for name in (*studies.ASKED, "sampler_seed") if name in given}
    )
    if len(asked) != 1:
        raise ConfigError(f"these are {len(asked)} studies: give one density and one distribution")
    options = Options(
        results=results_folder(given.get("results", "results")),
        storage=given.get("storage"),
        device=given.get("device", "auto"),
        tracker=given.get("tracker"),
        deadline=begun + seconds(given["time_limit"]) if "time_limit" in given else None,
        workers=whole("workers", given.get("workers", 1), 1),
    )
    return Tuning(asked[0], check(options))


def _given(
    namespace: Mapping[str, Any], before: set[str], known: tuple[str, ...], later: set[str]
) -> dict[str, Any]:
    """`rigl.training.config.parameters`, with those as texts that are."""
    given = parameters(namespace, before, known, later)
    return given | {name: str(given[name]) for name in TEXTS if name in given}
