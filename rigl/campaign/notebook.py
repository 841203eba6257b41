"""What the campaign notebook calls: its parameters checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rigl.campaign import runner, status
from rigl.campaign.request import Request, request, seconds
from rigl.campaign.runner import Outcome
from rigl.campaign.status import State
from rigl.training.config import ConfigError, parameters
from rigl.training.estimate import Estimator, estimator
from rigl.training.project import root

ASKED = ("tables", "protocol", "seeds", "densities", "dataset", "model")
PARAMETERS = (*ASKED, "run", "time_limit", "workers", "device", "results")


@dataclass(frozen=True)
class Campaign:
    """A campaign as a notebook's parameters ask for it."""

    request: Request
    results: Path
    device: str
    workers: int
    time_limit: float | None
    run: bool
    estimate: Estimator

    def plan(self) -> pd.DataFrame:
        """`rigl.campaign.status.plan_table` of it, now."""
        return status.plan_table(self.request, self._look(), self.estimate)

    def status(self) -> pd.DataFrame:
        """`rigl.campaign.status.status_table` of it, now."""
        return status.status_table(self.request, self._look())

    def summary(self) -> str:
        """How much is done and left, now, and each run that is on, was begun, diverged or failed."""
        states = self._look()
        lines = status.headline(states, self.estimate, self.workers, self.device)
        return "\n".join(lines + status.details(states))

    def _look(self) -> list[State]:
        return status.look(self.request.runs(), self.results)

    def train(self) -> Outcome | None:
        """Train what is left, where that was asked for."""
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
    """The campaign that a notebook's parameters ask for; `namespace` and `before` as in
    `rigl.training.notebook.configure`. Raises ConfigError, one line, for what does not exist or fit."""
    given = parameters(namespace, before, PARAMETERS, {"before", "campaign", "outcome"})
    # Papermill makes a number of "0" and of "0.05".
    asked = request(**{name: str(given[name]) for name in ASKED if name in given})
    run, workers = given.get("run", False), given.get("workers", 1)
    if not isinstance(run, bool):
        raise ConfigError(f"run={run!r} is not right: it should be True or False")
    if not isinstance(workers, int) or workers < 1:
        raise ConfigError(f"workers={workers!r} is not right: it should be a whole number from 1 on")
    results, device = root() / str(given.get("results", "results")), str(given.get("device", "auto"))
    limit = given.get("time_limit")
    return Campaign(
        request=asked,
        results=results,
        device=device,
        workers=workers,
        time_limit=None if limit is None else seconds(str(limit)),
        run=run,
        estimate=estimator(device, results),
    )
