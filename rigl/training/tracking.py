"""Log a run to TensorBoard or Weights & Biases while it trains.

The tracker is not part of a run's config and changes neither its name nor its result. Logs are written to
``results/.logs/NAME``. Only the selected tracker is imported.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rigl.training.config import ConfigError, RunConfig, brief, shown

if TYPE_CHECKING:
    from rigl.sparsity.sparsifier import Moved
    from rigl.training.run import Run


class Tracker(Protocol):
    """Where figures go: `log` takes a step, scalars by name and the densities of layers."""

    def log(self, step: int, scalars: Mapping[str, float], densities: list[float]) -> None: ...

    def close(self) -> None: ...


def check(tracker: str | None) -> None:
    """Raise ConfigError for a tracker that is unknown or not installed; None is no tracker."""
    if tracker is None:
        return
    if not isinstance(tracker, str) or tracker not in TRACKERS:
        close = get_close_matches(brief(tracker), TRACKERS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"tracker={shown(tracker)} is unknown{hint}: choose from {', '.join(TRACKERS)}")
    if find_spec(tracker) is None:
        raise ConfigError(f"tracker={tracker!r} is not installed: pip install {tracker}")


def logs_of(config: RunConfig, results: str | Path = "results") -> Path:
    """The folder of a run's logs."""
    return Path(results) / ".logs" / config.name


class Watch:
    """The tracker of a run. If it fails, it warns once and the run continues without it."""

    def __init__(self, start: Callable[[], Tracker] | None) -> None:
        self._tracker: Tracker | None = None
        self._moved = [0, 0]
        if start:
            self._try(lambda: setattr(self, "_tracker", start()))

    def update(self, _: int, moved: Mapping[str, Moved]) -> None:
        """Count what a mask update dropped and grew; a `Sparsifier`'s ``on_update``."""
        self._moved = [sum(counts) for counts in zip(self._moved, *moved.values(), strict=True)]

    def epoch(self, run: Run, metrics: Mapping[str, float | None], images: int) -> None:
        """Log the metrics of an epoch at its last step; `images` is the number of training images.

        Loss in nats, accuracy in percent; `flops` are those of all training steps so far, by the ledger;
        `dropped` and `grown` count the weights that the epoch's mask updates did so to.
        """
        tracker, ledger = self._tracker, run.ledger
        if tracker is None:
            return
        step = run.sparsifier.step_count
        epochs = step / run.config.steps_per_epoch
        scalars = {name: value for name, value in metrics.items() if value is not None} | {
            "density": run.density(),
            "flops": ledger.training / ledger.steps * images * epochs,
            "learning_rate": float(run.optimizer.param_groups[0]["lr"]),
            "dropped": self._moved[0],
            "grown": self._moved[1],
        }
        self._moved = [0, 0]
        self._try(lambda: tracker.log(step, scalars, run.layer_densities()))

    def close(self) -> None:
        if self._tracker is not None:
            self._try(self._tracker.close)

    def _try(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:  # a run must not fail because of its tracker
            self._tracker = None
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            warnings.warn(f"the tracker failed; the run continues without it: {reason}", stacklevel=2)


@contextmanager
def watch(tracker: str | None, config: RunConfig, results: str | Path, done: int) -> Iterator[Watch]:
    """The `Watch` of a run that has completed `done` epochs. Later points, left by an interrupted epoch or an
    earlier training, are discarded if the tracker supports it."""
    start = None
    if tracker:
        folder, step = logs_of(config, results), done * config.steps_per_epoch
        start = lambda: TRACKERS[tracker](config, folder, step)  # noqa: E731
    found = Watch(start)
    try:
        yield found
    finally:
        found.close()


class TensorBoard:
    """Event files for ``tensorboard --logdir results/.logs``."""

    def __init__(self, config: RunConfig, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def log(self, step: int, scalars: Mapping[str, float], densities: list[float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.add_histogram("layer_densities", np.array(densities), step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases, offline unless ``WANDB_MODE`` is set; upload it with ``wandb sync``.

    A resumed run has the same id, so that a server joins its parts.
    """

    def __init__(self, config: RunConfig, folder: Path, step: int) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rigl"),
            name=config.name,
            id=config.run_id,
            dir=folder,
            config=config.model_dump(mode="json"),
            mode=None if os.environ.get("WANDB_MODE") else "offline",
            resume="allow" if step else None,
            reinit="create_new",  # does not finish a run that the user has started
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True
            ),
        )

    def log(self, step: int, scalars: Mapping[str, float], densities: list[float]) -> None:
        histogram = self._wandb.Histogram(densities)
        self._run.log({**scalars, "layer_densities": histogram}, step=step, commit=True)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[RunConfig, Path, int], Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB}
