"""What a worker of a Dask cluster does of a campaign: one run at a time, and tell how it goes."""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from distributed import get_worker

from rigl.campaign import journal
from rigl.campaign.work import Order, Result, run_one, until
from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.training import provenance, records
from rigl.training.config import RunConfig
from rigl.training.data import data_root
from rigl.training.train import checkpoint_of, epochs_done

Files = dict[str, bytes]

# Torch's random state is the process's: a second campaign's run in it has to wait.
ONE_RUN = threading.Lock()
STOPPED: set[str] = set()
PACES: dict[Any, float] = {}


@dataclass(frozen=True)
class Place:
    """The folder of results that a worker uses, and whether it is the campaign's own."""

    folder: str
    shared: bool
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A run for a worker. `topic` is where it tells of it under `key`; `files` are what the run starts from,
    {path within the results: content}, and `epochs` those of the checkpoint among them."""

    key: str
    topic: str
    order: Order
    place: Place
    device: str
    data: str | None
    files: Files = field(default_factory=dict)
    epochs: int = 0


@dataclass(frozen=True)
class Report:
    """How a run ended, and the files that it left, where they do not lie with the campaign's own."""

    result: Result
    files: Files = field(default_factory=dict)


def hello(results: str, token: str) -> Place:
    """Where this worker keeps results: in ``RIGL_RESULTS`` if that is set; else in `results`, where it sees
    there what the campaign's journal says; else in a folder of its own beside the data sets."""
    own = os.environ.get("RIGL_RESULTS")
    folder = Path(own or results)
    shared = any(note.get("run") == token for note in journal.notes(folder))
    if not shared and not own:
        folder = data_root() / "results"
    return Place(str(folder), shared, provenance.versions())


def do(task: Task) -> Report:
    """One run, as a task of Dask's. Nothing that it dies of is raised."""
    worker = get_worker()
    folder, config = Path(task.place.folder), task.order.config
    (folder / ".checkpoints").mkdir(parents=True, exist_ok=True)

    def tell(done: int, total: int) -> None:
        worker.log_event(task.topic, {"key": task.key, "epochs": [done, total]})

    def warn(message: Warning | str, *_: Any, **__: Any) -> None:
        worker.log_event(task.topic, {"key": task.key, "warned": str(message)})

    with ONE_RUN, warnings.catch_warnings():
        warnings.showwarning = warn
        torch.set_num_threads(worker.state.nthreads)
        try:
            unpack(task.files, config, folder, task.epochs)
        except OSError as error:
            return Report(Result("failed", error=f"{type(error).__name__}: {error}", no_room=True))
        result = run_one(
            config,
            results=folder,
            device=task.device,
            data=task.data,
            masks=task.order.masks,
            stop=until(task.order, _Told(worker, task.key), PACES, tell),
            tracker=task.order.tracker,
            engine=task.order.engine,
        )
    STOPPED.discard(task.key)
    return Report(result, {} if task.place.shared else outputs(config, folder, result))


async def stop(key: str) -> None:
    """End a task after its epoch. Dask lets nobody wait for what is async only."""
    STOPPED.add(key)


def forget(config: RunConfig, folder: str) -> None:
    """Remove what a run left in a worker's own folder: it lies with the campaign now."""
    names = outputs(config, Path(folder), Result("finished"))
    for name in names:
        Path(folder, name).unlink(missing_ok=True)


def inputs(config: RunConfig, folder: Path) -> Files:
    """What a run starts from: its checkpoint, its source's record and masks, and a record that it names."""
    paths = [checkpoint_of(config, folder), records.path_of(config, folder)]
    if config.source is not None:
        paths += [*records.mask_paths(config.source, folder), records.path_of(config.source, folder)]
    if isinstance(config.distribution, str) and config.distribution not in DISTRIBUTIONS:
        paths += folder.glob(f"*/{config.distribution}.json")
    return _read(paths, folder)


def outputs(config: RunConfig, folder: Path, result: Result) -> Files:
    """What a run leaves: its masks and record, or the checkpoint where it was stopped."""
    if result.outcome in ("finished", "diverged"):
        return _read([*records.mask_paths(config, folder), records.path_of(config, folder)], folder)
    return _read([checkpoint_of(config, folder)], folder) if result.outcome == "stopped" else {}


def unpack(files: Files, config: RunConfig, folder: Path, epochs: int) -> None:
    """Write `files`, but for a checkpoint of no more `epochs` than the one that is there."""
    checkpoint = checkpoint_of(config, folder)
    for name, content in files.items():
        path = folder / name
        if path != checkpoint or epochs > epochs_done(config, folder):
            records.write_whole(path, content)


def _read(paths: list[Path], folder: Path) -> Files:
    files = {}
    for path in paths:
        with suppress(FileNotFoundError):
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


@dataclass
class _Told:
    """Whether a task is to end: it was told to, or nobody waits for it any more, since the runner is gone."""

    worker: Any
    key: str

    def is_set(self) -> bool:
        task = self.worker.state.tasks.get(self.key)
        return self.key in STOPPED or task is None or task.state in ("cancelled", "released", "forgotten")
