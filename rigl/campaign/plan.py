"""What is there of each run, on disk and right now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rigl.campaign import journal
from rigl.training import records
from rigl.training.config import RunConfig
from rigl.training.records import RecordError
from rigl.training.train import epochs_done, lock_of

DONE = ("finished", "diverged")
STATUSES = (*DONE, "running", "begun", "failed", "damaged", "left")


@dataclass(frozen=True)
class State:
    """What is there of a run.

    status    "finished" or "diverged" (a record is there), "running" (a process trains it right now),
              "begun" (it goes on from a checkpoint), "failed" (when last tried), "damaged" (its record or
              masks), "left"
    epochs    how many are done
    accuracy  on the test images, percent
    masks     whether it is trained again only for its final masks, which another run starts from
    """

    config: RunConfig
    status: str
    epochs: int = 0
    accuracy: float | None = None
    error: str | None = None
    masks: bool = False

    @property
    def done(self) -> bool:
        return self.status in DONE


def look(configs: Sequence[RunConfig], results: str | Path) -> list[State]:
    """The state of each of `configs` under `results`."""
    failed = journal.failures(results)
    there = {config.name for config in configs if records.path_of(config, results).exists()}
    needed = {config.source.name for config in configs if config.source and config.name not in there}
    return [_look(config, results, failed, config.name in needed) for config in configs]


def running(config: RunConfig, results: str | Path) -> bool:
    """Whether some process trains `config` right now."""
    path = lock_of(config, results)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _look(config: RunConfig, results: str | Path, failed: dict[str, str], needed: bool) -> State:
    path = records.path_of(config, results)
    masks = False
    if path.exists():
        try:
            record = records.load(path)
            masks = needed and records.load_masks(config, results) is None
        except RecordError as error:
            return State(config, "damaged", error=str(error))
        if not masks:
            return State(config, record.status, config.total_epochs, record.test_accuracy)
    epochs = epochs_done(config, results)
    if running(config, results):
        return State(config, "running", epochs, masks=masks)
    if config.name in failed:
        return State(config, "failed", epochs, error=failed[config.name], masks=masks)
    return State(config, "begun" if epochs else "left", epochs, masks=masks)
