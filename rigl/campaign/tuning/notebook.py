"""What the tuning notebook calls: its parameters checked before anything starts, and before Optuna loads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rigl.campaign.request import seconds
from rigl.campaign.studies import Settings
from rigl.campaign.tuning.request import ASKED, check_optuna, request
from rigl.training import records, tracking
from rigl.training.config import ConfigError, parameters
from rigl.training.devices import resolve_device
from rigl.training.estimate import duration, estimator
from rigl.training.project import root

if TYPE_CHECKING:
    from rigl.campaign.tuning.work import Options, Outcome

PARAMETERS = (
    *ASKED,
    *("sampler_seed", "storage", "workers", "time_limit", "device", "results", "tracker"),
)
TEXTS = ("density", "seeds")  # papermill makes numbers of these


@dataclass(frozen=True)
class Tuning:
    """A study as a notebook's parameters ask for it."""

    settings: Settings
    options: Options

    @property
    def results(self) -> Path:
        return Path(self.options.results)

    def summary(self) -> str:
        """What is asked for, how much of it is done, and how long the rest should take on one worker."""
        from rigl.campaign.tuning import view

        settings = self.settings
        _, counts = view.look(settings, self.results, self.options.storage)
        left = max(settings.trials - counts.complete, 0)
        lines = [f"study {settings.name}", f"{counts.complete} of {settings.trials} trials complete"]
        if left:
            each = estimator(self.options.device, self.results)(settings.config)
            time = f", about {duration(left * len(settings.seeds) * each.seconds)}" if each else ""
            lines.append(f"left: {left}{time}")
        return "\n".join(lines)

    def run(self) -> Outcome:
        """Go on with the study until it is done or time is up."""
        from rigl.campaign.tuning import work

        return work.run(self.settings, self.options)

    def frame(self) -> pd.DataFrame:
        """The records that there are now."""
        return records.frame(self.results)


def configure(namespace: Mapping[str, object], before: set[str]) -> Tuning:
    """The study that a notebook's parameters ask for; `namespace` and `before` as in
    `rigl.training.notebook.configure`. Raises ConfigError, one line, for what does not exist or fit."""
    begun = time.monotonic()
    check_optuna()
    from rigl.campaign.tuning.work import Options

    given = parameters(namespace, before, PARAMETERS, {"before", "tuning", "outcome", "study", "frame"})
    given |= {name: str(given[name]) for name in TEXTS if name in given}
    asked = request(**{name: given[name] for name in (*ASKED, "sampler_seed") if name in given})
    if len(asked) != 1:
        raise ConfigError(f"these are {len(asked)} studies: give one density and one distribution")
    workers, limit = given.get("workers", 1), given.get("time_limit")
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ConfigError(f"workers={workers!r} is not right: it should be a whole number from 1 on")
    tracker, device = given.get("tracker"), str(given.get("device", "auto"))
    tracking.check(None if tracker is None else str(tracker))
    for each in device.split(","):
        resolve_device(each)
    options = Options(
        results=str(root() / str(given.get("results", "results"))),
        storage=None if given.get("storage") is None else str(given["storage"]),
        device=device,
        tracker=None if tracker is None else str(tracker),
        end=None if limit is None else begun + 0.95 * seconds(str(limit)),
        workers=workers,
    )
    return Tuning(asked[0], options)
