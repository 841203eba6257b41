"""Run records, one JSON file per run: its configuration, provenance and results."""

from __future__ import annotations

import io
import json
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
from rigl.sparsity.shapes import Layer, network_density
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
    """An invalid file under ``results/``; the message names the file."""


class WriteError(OneLineError, OSError):
    """A file that cannot be written. The message names the file, and `errno` is that of the OSError."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


class LayerRecord(BaseModel):
    """A maskable layer and its density at each of the record's `density_steps`."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1)
    shape: tuple[AtLeastOne, ...] = Field(min_length=2)
    density: list[Share] = Field(min_length=1)

    @property
    def plain(self) -> Layer:
        """The layer without its history and positions, which records do not have."""
        return Layer(self.name, "conv" if len(self.shape) > 2 else "linear", self.shape)


class Flops(BaseModel):
    """FLOPs per sample: of a forward pass, dense and with the final masks, and of a training step, averaged
    over the run.

    `train_ratio` and `test_ratio` are the report's columns: relative to training the dense model of full
    width for the protocol's length, and to its forward pass. `training` is the closed form of
    `training_flops`, with `mean_forward`, the mean over the steps. `counted` is the sum over the actual
    steps; for RigL it is less than the closed form, which assumes updates until the end. Older records have
    neither `mean_forward` nor `counted`. A lottery ticket's figures include its pruning run.
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
    """Code, machine and software of a run.

    commit       None outside a git checkout
    clean        whether the package had no uncommitted changes, at the start and at each resumption
    device       several are joined by a plus, and so are engines
    peak_memory  in bytes
    resumed      how often the run was resumed from a checkpoint
    engine       see `rigl.training.engine`
    processes    always 1; kept so that older records load
    lanes        the most runs that shared the device and the process, and so its time and memory
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
    """The record of one run.

    `status` is "finished", or "diverged" if the loss became NaN or infinite, which leaves `test_accuracy`
    None. Accuracies are top-1 in percent. `history` has one value per epoch under each name (loss in nats).
    `forward_ratio` is the cost of a forward pass relative to dense at each of `density_steps`. `state_sha256`
    is a hash of the final weights, buffers, momentum and masks: runs with equal hashes are equal bit for bit.
    `source` names the record whose final masks this run started from, and `source_masks` is their SHA-256.
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
        # Checked first, since the fields of another version would cause errors of their own.
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
        """One value per epoch, and one density per step of `density_steps`, which lie within the run."""
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
        """Active weights over all weights of the maskable layers, at the end of the run."""
        ends = {layer.name: layer.density[-1] for layer in self.layers}
        return network_density([layer.plain for layer in self.layers], ends)


def path_of(config: RunConfig, root: str | Path = "results") -> Path:
    """The path of the record of `config`: ``root/DATASET/NAME.json``."""
    return Path(root) / config.dataset / f"{config.name}.json"


def save(record: Record, root: str | Path = "results") -> Path:
    """Write a record atomically and return its path.

    Raises RecordError, and writes nothing, for a record of more than 100 KB, and WriteError.
    """
    text = _json(record)
    if len(text) > MAX_BYTES:
        raise RecordError(f"{record.name}: {len(text)} bytes, more than {MAX_BYTES}")
    path = path_of(record.config, root)
    write_whole(path, text.encode())
    return path


def load(path: str | Path) -> Record:
    """Read a record. Raises RecordError, naming the file, if it is not valid."""
    record = read(Record, path)
    if Path(path).stem != record.name:
        raise RecordError(f"{path}: contains the record {record.name}")
    return record


def read(model: type[Content], path: str | Path) -> Content:
    """Read a JSON file and validate it as a `model`. Raises RecordError, naming the file."""
    try:
        return model.model_validate_json(Path(path).read_bytes())
    except ValueError as error:
        raise RecordError(f"{path}: not a valid {model.__name__.lower()}: {_reason(error)}") from None


def _reason(error: ValueError) -> str:
    """The first problem and its place, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("value_error", "json_invalid"):
        return str(first["msg"]).removeprefix("Value error, ")
    return f"{place}={shown(first['input'])}: {first['msg']}"


def records(root: str | Path = "results", *, strict: bool = False) -> Iterator[tuple[Path, Record]]:
    """Every record under `root` with its path, ordered by path.

    Damaged records are skipped with a warning that names them; with `strict`, RecordError is raised instead.
    """
    return readable(load, paths(root), strict=strict)


def readable(
    read: Callable[[Path], Content], files: Iterable[Path], *, strict: bool = False
) -> Iterator[tuple[Path, Content]]:
    """Apply `read` to each of `files`, and treat damaged ones as `records` does."""
    for path in files:
        try:
            yield path, read(path)
        except RecordError as error:
            if strict:
                raise
            warnings.warn(f"{error}; it is left out", stacklevel=2)


def paths(root: str | Path = "results") -> list[Path]:
    """The paths of all records under `root`: the JSON files in the folder of each data set."""
    return sorted(path for name in DATASETS for path in Path(root, name).glob("[!.]*.json"))


CONFIG_COLUMNS = (
    *("method", "distribution", "density", "dataset", "model", "protocol", "multiplier", "seed", "preset"),
)
COLUMNS = (
    *CONFIG_COLUMNS,
    *("status", "test_accuracy", "validation_accuracy", "final_density", "train_flops", "test_flops"),
    *("epochs", "device", "precision", "commit", "clean", "wall_seconds", "peak_memory", "name", "path"),
)


def frame(root: str | Path = "results", **equal: Any) -> pd.DataFrame:
    """The records under `root`, one per row, with the columns of `COLUMNS`.

    `equal` selects rows by the values of columns, e.g. ``frame(protocol="laptop")``; `train_flops` and
    `test_flops` are relative to dense. Damaged records are skipped with a warning. Raises ValueError for an
    unknown column.
    """
    table = tabulate(records(root))
    for column, value in equal.items():
        if column not in COLUMNS:
            raise ValueError(f"{shown(column)} is not a column: choose from {', '.join(COLUMNS)}")
        table = table[table[column] == value]
    return table.reset_index(drop=True)


def tabulate(found: Iterable[tuple[Path, Record]]) -> pd.DataFrame:
    """Records and their paths, one per row, with the columns of `COLUMNS`."""
    import pandas as pd  # takes seconds to import

    rows = []
    for path, record in found:
        config, origin = record.config, record.provenance
        rows.append(
            {
                **{column: getattr(config, column) for column in CONFIG_COLUMNS},
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
    """Write a file atomically, also when several processes write it at once. Raises WriteError."""
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
    """Turn an OSError of the block into a WriteError that names `path`; a lock's Timeout passes."""
    try:
        yield
    except (TimeoutError, WriteError):
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from None


def _json(record: Record) -> str:
    """Indented, but with every list on one line, for short files and readable diffs."""
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


# Masks that other runs start from are kept in git up to this size, in bytes.
SMALL = 32_768

Masks = dict[str, np.ndarray]


def save_masks(masks: Mapping[str, np.ndarray], config: RunConfig, root: str | Path = "results") -> Path:
    """Write ``{name: bool array}`` atomically and return the path.

    It is ``root/masks/DATASET/NAME.npz``, which is kept in git, for small files that other runs start from,
    else ``root/.masks/DATASET/NAME.npz``, which is not.
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
    """The final masks of a run, ``{name: bool array}``; None if they were not kept.

    Raises RecordError, naming the file, if it is damaged.
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
    except Exception as error:  # numpy and zlib raise many kinds for damaged files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path}: not a valid file of masks: {reason}") from None
    return found


def mask_paths(config: RunConfig, root: str | Path) -> tuple[Path, Path]:
    """The two possible paths of a run's masks: kept in git, and not."""
    tail = Path(config.dataset) / f"{config.name}.npz"
    return Path(root) / "masks" / tail, Path(root) / ".masks" / tail
