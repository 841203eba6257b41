"""A run's record: one JSON file that says what was run, on what, and what came out."""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rigl.sparsity.methods import METHODS
from rigl.sparsity.shapes import Layer
from rigl.training.config import DATASETS, OneLineError, RunConfig, shown

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
MAX_BYTES = 100_000
Content = TypeVar("Content", bound=BaseModel)

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RecordError(OneLineError, ValueError):
    """A file under ``results/`` that is not a valid record; the message names the file."""


class WriteError(OneLineError, OSError):
    """A file that cannot be written; the message names it, and `errno` says why."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


class LayerRecord(BaseModel):
    """One maskable layer: its density at each of the record's `density_steps`."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1)
    shape: tuple[AtLeastOne, ...] = Field(min_length=2)
    density: list[Share] = Field(min_length=1)

    @property
    def plain(self) -> Layer:
        """The layer without its history, and without positions, which records do not have."""
        return Layer(self.name, "conv" if len(self.shape) > 2 else "linear", self.shape)


class Flops(BaseModel):
    """FLOPs a sample: one forward pass dense and by the final mask, one training step averaged over the run.

    `train_ratio` and `test_ratio` are the report's columns: against training, and one forward pass of,
    the dense model of full width for the protocol's own length. `training` is the closed form of
    `training_flops`, with the mean over the steps, `mean_forward`, where the cost of a step
    changes; `counted` is what the steps came to one by one, less than the closed form for RigL, which takes
    its updates to go on to the end. Both of these are None in records made before
    they were counted. A lottery ticket's figures include its pruning run.
    """

    model_config = ConfigDict(extra="forbid")
    dense_forward: Positive
    forward: NonNegative
    training: NonNegative
    train_ratio: NonNegative
    test_ratio: Share
    mean_forward: NonNegative | None = None
    counted: NonNegative | None = None


class Provenance(BaseModel):
    """Where a record comes from, as it was when the run began. `commit` is None outside a git checkout;
    `clean` says whether the package's files were as in it, also each time the run went on from a
    checkpoint, `resumed` times; several devices or engines are joined by a plus; memory in bytes.

    engine     how steps were taken: see `rigl.training.engine`
    processes  that trained it together: 1, but for records of versions in which several could
    lanes      runs that shared the device and the process, and so its time and memory

    Where a run went on with other numbers of these, the largest stands.
    """

    model_config = ConfigDict(extra="forbid")
    commit: str | None
    clean: bool | None
    versions: dict[str, str]
    device: str
    threads: AtLeastOne
    precision: Literal["float32", "bf16"]
    data_sha256: Sha256
    started: str
    wall_seconds: NonNegative
    peak_memory: Count | None
    resumed: Count
    engine: str = "eager"
    processes: AtLeastOne = 1
    lanes: AtLeastOne = 1


class Record(BaseModel):
    """Everything a table, a figure or a doubter needs of one run.

    `history` has one value an epoch under each name (loss in nats, accuracy in percent); `status` is
    "finished", or "diverged" where the loss stopped being a number, which leaves `test_accuracy` None.
    Accuracies are in percent, top-1. `state_sha256` is over the last weights, buffers, momentum and
    masks: two runs that agree in it agree bit for bit. `forward_ratio` is the cost of a forward pass against
    dense at each of `density_steps`; `source` names the record whose run's final masks this one began with,
    and `source_masks` is a SHA-256 over those.
    """

    model_config = ConfigDict(extra="forbid")
    schema_version: int = SCHEMA
    name: str
    status: Literal["finished", "diverged"]
    config: RunConfig
    test_accuracy: Percent | None
    validation_accuracy: Percent | None
    history: dict[str, list[NonNegative | None]] = Field(min_length=1)
    density_steps: list[Count] = Field(min_length=1)
    forward_ratio: list[Share] = []
    source: str | None = None
    source_masks: Sha256 | None = None
    layers: list[LayerRecord] = Field(min_length=1)
    parameters: AtLeastOne
    active_parameters: Count
    updates: Count
    flops: Flops
    state_sha256: Sha256
    provenance: Provenance

    @model_validator(mode="before")
    @classmethod
    def _same_schema(cls, fields: Any) -> Any:
        # First, since another version's fields would be reported as errors of their own.
        if isinstance(fields, dict) and fields.get("schema_version", SCHEMA) != SCHEMA:
            raise ValueError(f"schema_version={shown(fields['schema_version'])} is not {SCHEMA}")
        return fields

    @model_validator(mode="after")
    def _check(self) -> Record:
        if self.name != self.config.name:
            raise ValueError(f"its name is {shown(self.name)}, but its config's is {self.config.name}")
        if (self.status == "finished") != (self.test_accuracy is not None):
            raise ValueError(f"status={self.status!r} with test_accuracy={self.test_accuracy}")
        if self.active_parameters > self.parameters:
            raise ValueError(f"active_parameters={self.active_parameters} of {self.parameters}")
        self._check_lengths()
        return self

    def _check_lengths(self) -> None:
        """A value an epoch, and as many densities as `density_steps`, which lie within the run."""
        epochs = {len(values) for values in self.history.values()}
        if len(epochs) > 1 or not 1 <= max(epochs) <= self.config.total_epochs:
            raise ValueError(f"history: {max(epochs)} epochs of {self.config.total_epochs}")
        for name, values in self.history.items():
            if name.endswith("accuracy") and any(value is not None and value > 100 for value in values):
                raise ValueError(f"history: {name} above 100 %")
        steps = self.density_steps
        if steps != sorted(set(steps)) or steps[-1] > self.config.total_steps:
            raise ValueError("density_steps must increase and end within the run")
        if any(len(layer.density) != len(steps) for layer in self.layers):
            raise ValueError("layers: each must have a density for each of density_steps")
        if self.forward_ratio and len(self.forward_ratio) != len(steps):
            raise ValueError("forward_ratio must have a value for each of density_steps")

    @property
    def density(self) -> float:
        """Active weights over all weights of the maskable layers, at the end."""
        return density_of(self.layers, -1)


def density_of(layers: list[LayerRecord], index: int) -> float:
    """The maskable layers' density together, at the `index`-th of a record's `density_steps`."""
    sizes = [math.prod(layer.shape) for layer in layers]
    return sum(n * layer.density[index] for n, layer in zip(sizes, layers, strict=True)) / sum(sizes)


def path_of(config: RunConfig, root: str | Path = "results") -> Path:
    """Where the record of `config` lies: ``root/DATASET/NAME.json``."""
    return Path(root) / config.dataset / f"{config.name}.json"


def save(record: Record, root: str | Path = "results") -> Path:
    """Write a record, whole or not at all, and return its path.

    Raises RecordError, and writes nothing, for a record of more than 100 KB.
    """
    text = _json(record)
    if len(text) > MAX_BYTES:
        raise RecordError(f"{record.name}: {len(text)} bytes, more than {MAX_BYTES}")
    path = path_of(record.config, root)
    write_whole(path, text.encode())
    return path


def load(path: str | Path) -> Record:
    """Read a record. Raises RecordError, naming the file, where it is not a valid one."""
    record = read(Record, path)
    if Path(path).stem != record.name:
        raise RecordError(f"{path}: holds the record {record.name}")
    return record


def read(model: type[Content], path: str | Path) -> Content:
    """What a JSON file holds, checked as a `model`. Raises RecordError, naming the file."""
    try:
        return model.model_validate_json(Path(path).read_bytes())
    except ValueError as error:
        raise RecordError(f"{path}: not a valid {model.__name__.lower()}: {_reason(error)}") from None


def _reason(error: ValueError) -> str:
    """What is wrong first, and where, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("value_error", "json_invalid"):
        return str(first["msg"]).removeprefix("Value error, ")
    return f"{place}={shown(first['input'])}: {first['msg']}"


def records(root: str | Path = "results", *, strict: bool = False) -> Iterator[tuple[Path, Record]]:
    """Every record under `root`, by path.

    A damaged one is left out with a warning that names it; with `strict`, RecordError is raised.
    """
    return readable(load, paths(root), strict=strict)


def readable(
    read: Callable[[Path], Content], files: Iterable[Path], *, strict: bool = False
) -> Iterator[tuple[Path, Content]]:
    """What `read` makes of each of `files`, without those that are damaged: see `records`."""
    for path in files:
        try:
            yield path, read(path)
        except RecordError as error:
            if strict:
                raise
            warnings.warn(f"{error}; it is left out", stacklevel=2)


def paths(root: str | Path = "results") -> list[Path]:
    """Every file under `root` that should be a record: the JSON files of each data set's folder."""
    return sorted(path for name in DATASETS for path in Path(root, name).glob("[!.]*.json"))


COLUMNS = (
    *("method", "distribution", "density", "dataset", "model", "protocol", "multiplier", "seed", "preset"),
    *("status", "test_accuracy", "validation_accuracy", "final_density", "train_flops", "test_flops"),
    *("epochs", "device", "precision", "commit", "clean", "wall_seconds", "peak_memory", "name", "path"),
)


def frame(root: str | Path = "results", **equal: Any) -> pd.DataFrame:
    """The records under `root`, one a row, with the columns of `COLUMNS`; none gives an empty frame.

    `equal` keeps the rows whose columns have these values, e.g. ``frame(protocol="laptop")``;
    `train_flops` and `test_flops` are relative to dense. A damaged record is left out with a warning. Raises
    ValueError for an unknown column.
    """
    table = tabulate(records(root))
    for column, value in equal.items():
        if column not in COLUMNS:
            raise ValueError(f"{shown(column)} is not a column: choose from {', '.join(COLUMNS)}")
        table = table[table[column] == value]
    return table.reset_index(drop=True)


def tabulate(found: Iterable[tuple[Path, Record]]) -> pd.DataFrame:
    """Records, each with its path, one a row, with the columns of `COLUMNS`."""
    import pandas as pd  # seconds, which whoever only trains need not wait

    rows = []
    for path, record in found:
        config, origin = record.config, record.provenance
        rows.append(
            {
                **{column: getattr(config, column) for column in COLUMNS[:9]},
                "distribution": config.distribution_name,
                "density": round(record.density, 4) if config.density is None else config.density,
                "status": record.status,
                "test_accuracy": record.test_accuracy,
                "validation_accuracy": record.validation_accuracy,
                "final_density": record.density,
                "train_flops": record.flops.train_ratio,
                "test_flops": record.flops.test_ratio,
                "epochs": config.total_epochs,
                "device": origin.device,
                "precision": origin.precision,
                "commit": origin.commit,
                "clean": origin.clean,
                "wall_seconds": origin.wall_seconds,
                "peak_memory": origin.peak_memory,
                "name": record.name,
                "path": path.as_posix(),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write a file whole or not at all, also when several processes write it at once.

    Raises WriteError, naming the file.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(content)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).chmod(0o644)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise any OSError of the block, such as that of a full disk, as a WriteError that names `path`; except
    for a lock's Timeout."""
    try:
        yield
    except (TimeoutError, WriteError):
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from None


def _json(record: Record) -> str:
    """Indented, but with every list on one line: short, and a diff can be read."""
    fields = record.model_dump(mode="json")
    lines = []
    for key, value in fields.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            text = "{\n" + inner + "\n  }"
        elif value and isinstance(value, list) and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
        else:
            text = json.dumps(value)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


# What is smaller, and what other runs start from, is worth keeping in git.
SMALL = 32_768

Masks = dict[str, np.ndarray]


def save_masks(masks: Mapping[str, np.ndarray], config: RunConfig, root: str | Path = "results") -> Path:
    """Write ``{name: bool array}`` whole or not at all, and return the path.

    It is ``root/masks/DATASET/NAME.npz``, which git keeps, for small files that other runs start from;
    else ``root/.masks/DATASET/NAME.npz``, which it does not.
    """
    arrays = {}
    for name, mask in masks.items():
        arrays[f"bits/{name}"] = np.packbits(mask.reshape(-1))
        arrays[f"shape/{name}"] = np.array(mask.shape)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    kept = config.method in {rule.source for rule in METHODS.values()} and len(content) <= SMALL
    here, there = mask_paths(config, root) if kept else mask_paths(config, root)[::-1]
    write_whole(here, content)
    there.unlink(missing_ok=True)
    return here


def load_masks(config: RunConfig, root: str | Path = "results") -> Masks | None:
    """The final masks of `config`'s run, ``{name: bool array}``; None where they are not there.

    Raises RecordError, naming the file, where it is damaged.
    """
    path = next((path for path in mask_paths(config, root) if path.exists()), None)
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        found = {}
        for name in dict.fromkeys(key.partition("/")[2] for key in arrays if "/" in key):
            shape = tuple(arrays[f"shape/{name}"])
            bits = np.unpackbits(arrays[f"bits/{name}"], count=int(np.prod(shape)))
            found[name] = bits.astype(bool).reshape(shape)
    except Exception as error:  # whatever numpy and zlib make of a file that is damaged
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path}: not the masks of a run: {reason}") from None
    return found


def mask_paths(config: RunConfig, root: str | Path) -> tuple[Path, Path]:
    """Where the masks of a run lie: the one that git keeps, and the one that it does not."""
    tail = Path(config.dataset) / f"{config.name}.npz"
    return Path(root) / "masks" / tail, Path(root) / ".masks" / tail
