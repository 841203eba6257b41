"""The state of a campaign's runs: plan, status, verify, export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from rigl.campaign.request import Request
from rigl.training import records
from rigl.training.checkpoints import epochs_done, lock_of
from rigl.training.config import ConfigError, RunConfig
from rigl.training.devices import resolve_device
from rigl.training.estimate import Estimate, Estimator, duration, epoch_flops
from rigl.training.records import RecordError

DONE = ("finished", "diverged")
STATUSES = (*DONE, "running", "begun", "failed", "damaged", "left")
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class State:
    """The state of a run.

    status    "finished" or "diverged" (it has a record), "running" (a process trains it now), "begun" (it has
              a checkpoint), "failed" (at the last attempt), "damaged" (its record or masks), "left"
    epochs    number of completed epochs
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
    there = {config.name for config in configs if records.path_of(config, results).exists()}
    needed = {config.source.name for config in configs if config.source and config.name not in there}
    return [_look(config, results, config.name in needed) for config in configs]


def running(config: RunConfig, results: str | Path) -> bool:
    """Whether a process trains `config` now."""
    path = lock_of(config, results)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def failure_path(config: RunConfig, results: str | Path) -> Path:
    """The file with the error of a failed run, kept until the next attempt."""
    return Path(results) / ".checkpoints" / f"{config.name}.failed"


def note_failure(config: RunConfig, results: str | Path, error: str) -> None:
    """Store the error of a failed run, unless the disk is full."""
    with suppress(OSError):
        records.write_whole(failure_path(config, results), error.encode())


def _look(config: RunConfig, results: str | Path, needed: bool) -> State:
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
    with suppress(FileNotFoundError):
        why = failure_path(config, results).read_text()
        return State(config, "failed", epochs, error=why, masks=masks)
    return State(config, "begun" if epochs else "left", epochs, masks=masks)


def plan_table(request: Request, states: Sequence[State], estimate: Estimator) -> pd.DataFrame:
    """The rows of the tables, with the number of completed runs, and the FLOPs and time left."""
    lines, named = [], {state.config.name: state for state in states}
    for name in request.tables:
        lines += [_line(name, [named[run.name] for run in row], estimate) for row in request.rows(name)]
    asked = {run.name for name in request.tables for row in request.rows(name) for run in row}
    extra: dict[str, list[State]] = {}
    for state in states:
        if state.config.name not in asked:
            extra.setdefault(state.config.but(seed=0).name, []).append(state)
    lines += [_line("for other rows", same, estimate) for same in extra.values()]
    return pd.DataFrame(lines)


def status_table(request: Request, states: Sequence[State]) -> pd.DataFrame:
    """The number of runs in each state, one row per table."""
    lines, named = [], {state.config.name: state for state in states}
    for name in request.tables:
        mine = [named[run.name] for row in request.rows(name) for run in row]
        counts = Counter(state.status for state in mine)
        lines.append({"Table": name, "Runs": len(mine), **{each: counts[each] for each in STATUSES}})
    return pd.DataFrame(lines)


def details(states: Iterable[State]) -> list[str]:
    """A line for every run that is running, begun, diverged, failed or damaged."""
    found = []
    for state in states:
        name, epochs = state.config.name, f"{state.epochs} of {state.config.total_epochs} epochs done"
        if state.status in ("running", "begun"):
            found.append(f"{state.status}: {name}, {epochs}")
        elif state.status in ("diverged", "failed", "damaged"):
            found.append(f"{state.status}: {name}" + (f": {state.error}" if state.error else ""))
    return found


def headline(
    states: Sequence[State], estimate: Estimator | None, workers: int = 1, device: str = "auto"
) -> list[str]:
    """The number of runs in each state, and the FLOPs and estimated time left."""
    counts = Counter(state.status for state in states)
    words = ", ".join(f"{counts[each]} {each}" for each in STATUSES if counts[each])
    lines = [f"{len(states)} runs: {words}"]
    left = [state for state in states if not state.done]
    if left:
        flops = f"left: {sum(_flops(state) for state in left):.1e} FLOPs (masks save no time)"
        known = [(state, each) for state in left if estimate and (each := estimate(state.config))]
        seconds = sum(_share(state) * each.seconds / together(each, workers, device) for state, each in known)
        by = f" with {workers} workers" if workers > 1 else ""
        but = f", and {len(left) - len(known)} runs of unknown length" if len(known) < len(left) else ""
        lines.append(f"{flops}, about {duration(seconds)}{by}{but}" if known else flops)
        lines += [f"based on {basis}" for basis in dict.fromkeys(each.basis for _, each in known)]
    return lines


def together(estimate: Estimate, workers: int, device: str) -> float:
    """The speed-up of `workers` over one worker: those on one GPU share it."""
    devices = device.split(",")
    if resolve_device(devices[0]).type != "cpu":
        return min(workers, len(devices))
    return min(workers, max(1, torch.get_num_threads() // estimate.threads))


def exit_status(states: Iterable[State]) -> int:
    """The exit status: 0 all done, 1 some failed, 3 some left."""
    found = {state.status for state in states}
    return 1 if found & {"failed", "damaged"} else 3 if found - set(DONE) else 0


def _line(name: str, states: Sequence[State], estimate: Estimator) -> dict[str, Any]:
    config = states[0].config
    left = [state for state in states if not state.done]
    known = [(state, each) for state in left if (each := estimate(state.config))]
    seconds = sum(_share(state) * each.seconds for state, each in known)
    return {
        "Table": name,
        "Data": config.dataset,
        "Model": config.model,
        "Method": config.method,
        "Masks": config.distribution_name or "-",
        "Size": "-" if config.method == "dense" else config.size,
        "Length": f"{config.multiplier}x",
        "Changed": config.changes("flops") or "-",
        "Done": f"{len(states) - len(left)}/{len(states)}",
        "FLOPs left": f"{sum(_flops(state) for state in left):.1e}" if left else "-",
        "Time left": duration(seconds) if known and len(known) == len(left) else "?" if left else "-",
    }


def _share(state: State) -> float:
    """The fraction of a run that is left."""
    return 0.0 if state.done else 1 - state.epochs / state.config.total_epochs


def _flops(state: State) -> float:
    return _share(state) * state.config.total_epochs * epoch_flops(state.config)


def verify(results: str | Path) -> tuple[int, list[tuple[Path, str]]]:
    """Check every record under `results`, and the masks of its run if they were kept.

    A record must be valid, have the name of its config, and be in the folder of its data set. Damaged files
    are moved to ``.damaged`` in `results`. Returns the number of sound records, and the new path of each
    damaged file with the reason.
    """
    root, sound, damaged = Path(results), 0, []
    for path in records.paths(root):
        try:
            record = records.load(path)
            if path != records.path_of(record.config, root):
                raise RecordError(f"{path}: belongs in the folder {record.config.dataset}")
        except RecordError as error:
            damaged.append((_set_aside(path, root), str(error)))
            continue
        sound += 1
        try:
            records.load_masks(record.config, root)
        except RecordError as error:
            path = next(path for path in records.mask_paths(record.config, root) if path.exists())
            damaged.append((_set_aside(path, root), str(error)))
    return sound, damaged


def export(results: str | Path, names: Collection[str] | None = None) -> pd.DataFrame:
    """The records under `results`, all or those called `names`: the columns of `records.frame`, and all other
    fields of the config. Raises RecordError for a damaged file."""
    found = list(records.records(results, strict=True))
    table = records.tabulate(found)
    configs = [record.config.model_dump() for _, record in found]
    knobs = pd.DataFrame(configs, columns=[*RunConfig.model_fields])
    table = table.join(knobs.drop(columns=table.columns, errors="ignore"))
    return table if names is None else table[table["name"].isin(list(names))].reset_index(drop=True)


def check_format(path: str | Path) -> None:
    """Raise ConfigError if the format of `path` is not supported."""
    if Path(path).suffix not in SUFFIXES:
        raise ConfigError(f"{path}: the supported formats are {' and '.join(SUFFIXES)}")
    if Path(path).suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{path}: this needs pyarrow: pip install pyarrow, or write .csv")


def csv(table: pd.DataFrame) -> str:
    """A table as CSV. Text that a spreadsheet would take for a formula is prefixed with an apostrophe."""
    return table.map(_inert).to_csv(index=False)


def _inert(value: Any) -> Any:
    formula = isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{value}" if formula else value


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically, in the format of the suffix. Raises ConfigError and WriteError."""
    check_format(path)
    if Path(path).suffix == ".csv":
        content = csv(table).encode()
    else:
        content = table.to_parquet(engine="pyarrow", index=False)
    records.write_whole(Path(path), content)


def _set_aside(path: Path, root: Path) -> Path:
    place = root / ".damaged" / path.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    while place.exists():
        count += 1
        place = place.with_name(f"{path.name}.{count}")
    return path.rename(place)
