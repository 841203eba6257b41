"""What runs cost this machine, in FLOPs and in seconds.

A mask saves this machine nothing: a sparse step takes as long as a dense one. Only a small dense network is
really smaller.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from rigl.sparsity.flops import forward_flops
from rigl.training import records
from rigl.training import train as training
from rigl.training.config import DATASETS, RunConfig
from rigl.training.devices import device_name, resolve_device
from rigl.training.models import layers_of
from rigl.training.project import root
from rigl.training.records import Record, RecordError

# A step that takes longer than this, in seconds, is rather judged by another network's than tried out.
QUICK = 2.0


@dataclass(frozen=True)
class Expected:
    """How long a run takes: `seconds` in all, with `threads` CPU threads, and what that is judged by."""

    seconds: float
    threads: int
    basis: str


Clock = Callable[[RunConfig], Expected]


def step_flops(config: RunConfig) -> float:
    """FLOPs that this machine takes for one training step on one image."""
    return 3 * forward_flops(
        layers_of(config.model, DATASETS[config.dataset].classes, config.width_factor, config.input_shape)
    )


def epoch_flops(config: RunConfig) -> float:
    """FLOPs that this machine takes for one epoch."""
    return step_flops(config) * (DATASETS[config.dataset].train - config.validation)


def clock(device: str, results: str | Path = "results") -> Clock:
    """Tells how long a run takes on `device`, where nothing else runs.

    By the benchmark of this device (``bench/*.json`` in `results`, or in the project's own) for the model
    that it measured, scaled by FLOPs; else by the records there of the same model on this device; else by a
    few steps, unless these would take long, and the benchmark of another model is there to scale. Of several
    devices, joined by commas, the first is judged. Raises ConfigError for one that is not there.
    """
    where, *_ = [resolve_device(each) for each in device.split(",")]
    folders = [Path(results)]
    with suppress(FileNotFoundError):
        folders.append(root() / "results")
    name = device_name(where)
    measured = _benchmark(name, folders)
    known = [record for record in _records(folders) if record.provenance.device == name and _alone(record)]
    tried: dict[Any, float] = {}

    def expect(config: RunConfig) -> Expected:
        scaled = None
        if measured:
            rate = measured["images_per_second"]["dense"] * step_flops(_measured(measured))
            seconds = epoch_flops(config) * config.total_epochs / rate
            scaled = Expected(seconds, measured["threads"], f"the benchmark of {measured['model']} on {name}")
            if measured["model"] == config.model:
                return scaled
        if alike := [record for record in known if kind(record.config) == kind(config)]:
            same = [record for record in alike if record.config.method == config.method] or alike
            step = median(r.provenance.wall_seconds / _steps(r) for r in same)
            basis = f"wall seconds of {len(alike)} runs of {config.model} on {name}"
            return Expected(step * config.total_steps, max(r.provenance.threads for r in same), basis)
        if scaled and scaled.seconds / config.total_steps > QUICK:
            return scaled
        if kind(config) not in tried:
            plain = _plain(config)
            tried[kind(config)] = training.expected_seconds(plain, str(where)) / plain.total_steps
        seconds = tried[kind(config)] * config.total_steps
        return Expected(seconds, training.threads(config), f"a few steps of {config.model} on {name}")

    return expect


def together(expected: Expected, workers: int, device: str) -> float:
    """How many times as fast `workers` get through such runs: those on one GPU share it."""
    devices = device.split(",")
    if resolve_device(devices[0]).type != "cpu":
        return min(workers, len(devices))
    return min(workers, max(1, torch.get_num_threads() // expected.threads))


def duration(seconds: float) -> str:
    """A time in words: ``"40 s"``, ``"12 min"``, ``"3.5 h"``, ``"2.1 days"``."""
    for unit, size, limit in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < limit * size:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _benchmark(name: str, folders: list[Path]) -> dict[str, Any] | None:
    for folder in folders:
        for path in sorted(folder.glob("bench/*.json")):
            found: dict[str, Any] = json.loads(path.read_text())
            if found.get("device") == name and "images_per_second" in found:
                return found
    return None


def _measured(measured: dict[str, Any]) -> RunConfig:
    """The run that `benchmarks` takes steps of."""
    return RunConfig(protocol="paper", dataset="cifar10", model=measured["model"], method="dense")


def _records(folders: list[Path]) -> list[Record]:
    found = {}
    for folder in folders:
        for path in records.paths(folder):
            with suppress(RecordError):  # `verify` is there to name these
                record = records.load(path)
                found[record.name] = record
    return list(found.values())


def _alone(record: Record) -> bool:
    """Whether a run's time is its own."""
    return record.provenance.lanes == record.provenance.processes == 1


def kind(config: RunConfig) -> tuple[Any, ...]:
    """What makes a step of one run take as long as another's."""
    small = config.density if config.method == "small-dense" else None
    return config.model, config.dataset, config.pool, config.batch_size, config.precision, small


def _plain(config: RunConfig) -> RunConfig:
    """A run of the same kind that can always be begun."""
    small = config.method == "small-dense"
    other = config.model_dump(exclude={"method", "density", "distribution", "flops"})
    return RunConfig(
        **other, method="small-dense" if small else "dense", density=config.density if small else None
    )


def _steps(record: Record) -> int:
    """Steps that a run took, also where it diverged early."""
    return record.config.steps_per_epoch * max(len(record.history["train_loss"]), 1)
