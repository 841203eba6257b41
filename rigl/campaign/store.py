"""A folder of results: checked, exported, and cleared of what kills left."""

from __future__ import annotations

import io
from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from rigl.training import records
from rigl.training.config import ConfigError, RunConfig
from rigl.training.records import RecordError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def verify(results: str | Path) -> tuple[int, list[tuple[Path, str]]]:
    """Read every record under `results`, and the masks of its run where they were kept.

    A record must be valid, its config must hash to its name, and it must lie where its config says. What is
    damaged is moved to ``.damaged`` in the same folder. Returns how many records are sound, and where each
    damaged file now lies and why.
    """
    root, sound, damaged = Path(results), 0, []
    for path in records.paths(root):
        try:
            record = records.load(path)
            if path != records.path_of(record.config, root):
                raise RecordError(f"{path}: belongs into the folder {record.config.dataset}")
        except RecordError as error:
            damaged.append((_set_aside(path, root), str(error)))
            continue
        sound += 1
        try:
            records.load_masks(record.config, root)
        except RecordError as error:
            tail = Path(record.config.dataset, f"{record.name}.npz")
            path = next(path for folder in ("masks", ".masks") if (path := root / folder / tail).exists())
            damaged.append((_set_aside(path, root), str(error)))
    return sound, damaged


def export(results: str | Path, names: Collection[str] | None = None) -> pd.DataFrame:
    """The records under `results`, those called `names` or all: `records.frame`, and every knob of a run
    that is no column of it. Raises RecordError for a damaged file."""
    found = list(records.records(results))
    table = records.tabulate(found)
    for knob in [key for key in RunConfig.model_fields if key not in table.columns]:
        table[knob] = [record.config.model_dump()[knob] for _, record in found]
    return table if names is None else table[table["name"].isin(list(names))].reset_index(drop=True)


def check_format(path: str | Path) -> None:
    """Raise ConfigError where a table cannot be written to `path`."""
    if Path(path).suffix not in SUFFIXES:
        raise ConfigError(f"{path}: a table is written as {' or '.join(SUFFIXES)}")
    if Path(path).suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{path}: this needs pyarrow: pip install pyarrow, or write .csv")


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table whole or not at all, in the format that its suffix names. Raises ConfigError."""
    check_format(path)
    if Path(path).suffix == ".csv":
        content = table.to_csv(index=False).encode()
    else:
        buffer = io.BytesIO()
        table.to_parquet(buffer, engine="pyarrow", index=False)
        content = buffer.getvalue()
    records.write_whole(Path(path), content)


def tidy(results: str | Path) -> None:
    """Remove the partial files of processes that were killed while they wrote, but of no run that is on."""
    root = Path(results)
    for partial in root.rglob(".*.part"):
        run = partial.name.removeprefix(".").rsplit(".", 3)[0]
        lock = root / ".checkpoints" / f"{run}.lock"
        with suppress(Timeout, OSError):
            if lock.exists():
                with FileLock(lock, timeout=0):
                    partial.unlink(missing_ok=True)


def _set_aside(path: Path, root: Path) -> Path:
    place = root / ".damaged" / path.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    while place.exists():
        count += 1
        place = place.with_name(f"{path.name}.{count}")
    return path.rename(place)
