"""Which engine takes a run's steps."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from rigl.capture import Captured, Repeats
from rigl.config import DATASETS, ConfigError
from rigl.devices import slug
from rigl.engine import Engine
from rigl.project import root
from rigl.ranks import ALONE, Ranks
from rigl.run import Run

NAMES = ("auto", "eager", "captured")


def choose(run: Run, ranks: Ranks = ALONE, name: str = "auto") -> Engine:
    """The engine called `name` for `run`.

    ``"eager"`` takes steps one by one, ``"captured"`` replays them as CUDA graphs (on a CPU, where there are
    none, it goes through the same motions). ``"auto"`` is captured on a GPU where ``python -m rigl.bench
    --verify`` found both to agree, for one process, else eager. Raises ConfigError for another name, and for
    captured steps in several processes.
    """
    if name not in NAMES:
        raise ConfigError(f"engine={name!r} is unknown: choose one of {', '.join(NAMES)}")
    images = DATASETS[run.config.dataset].train - run.config.validation
    last = images % run.config.batch_size or run.config.batch_size
    if last < ranks.size:
        raise ConfigError(
            f"batch_size={run.config.batch_size} leaves a last batch of {last} of {images} images for "
            f"{ranks.size} processes: each needs one"
        )
    if name == "captured" and ranks.size > 1:
        raise ConfigError("engine='captured' is for one process: choose eager")
    cuda = run.device.type == "cuda"
    if name == "captured" or (name == "auto" and cuda and ranks.size == 1 and verified(run.device)):
        return Captured(run, None if cuda else Repeats())
    return Engine(run, ranks)


def verdict_path(device: torch.device) -> Path:
    """Where ``python -m rigl.bench --verify`` keeps what it found on `device`. Raises FileNotFoundError
    outside the project."""
    return root() / "results" / "bench" / "verified" / f"{slug(device)}.json"


def verified(device: torch.device) -> bool:
    """Whether captured steps were found right on such a device, with this minor version of torch."""
    try:
        found = json.loads(verdict_path(device).read_text())
    except FileNotFoundError:
        return False
    return bool(found["passed"]) and _minor(found["versions"]["torch"]) == _minor(str(torch.__version__))


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
