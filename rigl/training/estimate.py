"""Estimates of how long a run takes, from the records and benchmarks of this device.

Masks save no time: a sparse step takes as long as a dense one. Only small-dense networks are smaller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rigl.sparsity.flops import forward_flops
from rigl.training import records
from rigl.training.config import DATASETS, RunConfig
from rigl.training.devices import device_name, resolve_device
from rigl.training.models import layers_of
from rigl.training.project import root
from rigl.training.records import Record, RecordError


@dataclass(frozen=True)
class Estimate:
    """Estimated `seconds` of a whole run with `threads` CPU threads, and what the estimate is based on."""

    seconds: float
    threads: int
    basis: str

    def __str__(self) -> str:
        return f"about {duration(self.seconds)}"


Estimator = Callable[[RunConfig], Estimate | None]


def estimator(device: str = "auto", results: str | Path = "results") -> Estimator:
    """A function that estimates how long a run takes alone on `device`, or returns None if nothing is known.

    Estimates are based on the records of the same network and data on this device, in `results` or in the
    project's own folder; if there are none, on this device's benchmark (``bench/*.json`` there), scaled by
    FLOPs. Of several comma-separated devices the first is used. Raises ConfigError for a device that is not
    available.
    """
    name = device_name(resolve_device(device.split(",")[0]))
    folders = [Path(results)]
    with suppress(FileNotFoundError):
        folders.append(root() / "results")
    known = [record for record in _records(folders) if record.provenance.device == name and _alone(record)]
    measured = _benchmark(name, folders)

    def estimate(config: RunConfig) -> Estimate | None:
        if alike := [record for record in known if kind(record.config) == kind(config)]:
            same = [record for record in alike if record.config.method == config.method] or alike
            step = median(record.provenance.wall_seconds / _steps(record) for record in same)
            threads = max(record.provenance.threads for record in same)
            basis = f"{len(alike)} runs of {config.model} on {name}"
            return Estimate(step * config.total_steps, threads, basis)
        if measured:
            benched = RunConfig(protocol="paper", dataset="cifar10", model=measured["model"], method="dense")
            rate = measured["images_per_second"]["dense"] * dense_step_flops(benched)
            seconds = epoch_flops(config) * config.total_epochs / rate
            return Estimate(seconds, measured["threads"], f"the benchmark of {measured['model']} on {name}")
        return None

    return estimate


def kind(config: RunConfig) -> tuple[Any, ...]:
    """The properties on which the duration of a step depends."""
    small = config.density if config.method == "small-dense" or config.execution != "masked" else None
    how = config.precision, config.execution
    return config.model, config.dataset, config.pool, config.batch_size, *how, small


def dense_step_flops(config: RunConfig) -> float:
    """FLOPs that the device computes for one training step on one image."""
    classes = DATASETS[config.dataset].classes
    return 3 * forward_flops(layers_of(config.model, classes, config.width_factor, config.input_shape))


def epoch_flops(config: RunConfig) -> float:
    """FLOPs that the device computes for one epoch."""
    return dense_step_flops(config) * (DATASETS[config.dataset].train - config.validation)


def duration(seconds: float) -> str:
    """A duration in words: ``"40 s"``, ``"12 min"``, ``"3.5 h"``, ``"2.1 days"``."""
    for unit, size, limit in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < limit * size:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _records(folders: list[Path]) -> Iterator[Record]:
    paths = {path.name: path for folder in folders for path in records.paths(folder)}
    for path in paths.values():
        with suppress(RecordError):  # `verify` names these
            yield records.load(path)


def _benchmark(name: str, folders: list[Path]) -> dict[str, Any] | None:
    for folder in folders:
        for path in sorted(folder.glob("bench/*.json")):
            with suppress(ValueError):  # a damaged file counts as none
                found: dict[str, Any] = json.loads(path.read_text())
                if found.get("device") == name and "images_per_second" in found:
                    return found
    return None


def _alone(record: Record) -> bool:
    """Whether a run had the device to itself."""
    return record.provenance.lanes == 1


def _steps(record: Record) -> int:
    """Steps that a run took, which may have diverged early."""
    return record.config.steps_per_epoch * max(len(record.history["train_loss"]), 1)
