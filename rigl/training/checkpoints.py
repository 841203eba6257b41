"""Checkpoints of unfinished runs: where they lie, and how they are written, read and checked."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from rigl.training import records
from rigl.training.config import OneLineError, RunConfig


class CheckpointError(OneLineError, ValueError):
    """A checkpoint that is damaged or does not belong to the run."""


def checkpoint_of(config: RunConfig, results: str | Path = "results") -> Path:
    """The path of an unfinished run's checkpoint."""
    return Path(results) / ".checkpoints" / f"{config.name}.pt"


def lock_of(config: RunConfig, results: str | Path = "results") -> Path:
    """The path of the lock that the process that trains `config` holds."""
    return checkpoint_of(config, results).with_suffix(".lock")


def epochs_done(config: RunConfig, results: str | Path = "results") -> int:
    """Epochs that an unfinished run can resume after; 0 without a valid checkpoint."""
    try:
        return int(load(checkpoint_of(config, results), config, "cpu")["done"]["epoch"])
    except (OSError, CheckpointError):  # training warns about it
        return 0


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint: the output of `torch.save`, preceded by its SHA-256."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    records.write_whole(path, hashlib.sha256(content).digest(), content)


def load(path: Path, config: RunConfig, device: torch.device | str) -> dict[str, Any]:
    """Read a checkpoint. Raises OSError, and CheckpointError for a file that is damaged, belongs to another
    run or has an impossible number of epochs."""
    content = memoryview(path.read_bytes())
    digest, content = content[: hashlib.sha256().digest_size], content[hashlib.sha256().digest_size :]
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError("its content does not match its hash")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        name, done = state["name"], state["done"]
        epoch, lengths = done["epoch"], {len(values) for values in done["history"].values()}
    except Exception as error:  # such as a checkpoint of another version
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"it is not a checkpoint: {reason}") from None
    if name != config.name:
        raise CheckpointError(f"it belongs to {name}")
    if type(epoch) is not int or not 0 < epoch <= config.total_epochs or lengths != {epoch}:
        raise CheckpointError(f"it says that {epoch!r} of {config.total_epochs} epochs are done")
    return state
