"""Run configurations, validated before anything starts, and the protocols that provide their defaults."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import ceil, sqrt
from numbers import Real
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rigl.sparsity.distributions import DISTRIBUTIONS
from rigl.sparsity.methods import METHODS, method_named, preset_named

DatasetName = Literal["digits", "fashion-mnist", "cifar10", "cifar100"]
ProtocolName = Literal["paper", "tenth", "laptop", "smoke"]
Augmentation = Literal["none", "flip", "crop-flip", "resized-crop-flip"]
Precision = Literal["auto", "float32", "bf16"]
ENGINES = ("auto", "eager", "captured", "compiled")
MOST = 10**6  # upper bound of epochs, batch sizes and other counts


# Fractions of the report's 88,000 steps: the start of pruning, and its warm-up on CIFAR-10.
PRUNE_START = 700 / 88_000
PRUNING_WARMUP = 3_500 / 88_000
# Protocols of small networks, trained on many machines: float32 by default, so that they are comparable.
FLOAT32 = ("laptop", "smoke")


class OneLineError(Exception):
    """An error with a self-contained message. Notebooks show that one line instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def shown(value: object) -> str:
    """The `repr` of a value for an error message, truncated to 80 characters."""
    try:
        return brief(repr(value))
    except ValueError:  # Python refuses to write out integers of more than 4,300 digits
        return f"({type(value).__name__} of too many digits)"


def brief(text: object, limit: int = 80) -> str:
    """A text as one line, truncated to `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


class ConfigError(OneLineError, ValueError):
    """An unknown parameter or an invalid value."""


def parse_wrn(name: str) -> tuple[int, int]:
    """Depth D and widening factor K of ``"wrn-D-K"``: D = 6 n + 4 with n >= 1 blocks per stage, K >= 1.

    Raises ValueError for any other name.
    """
    found = re.fullmatch("wrn-([1-9][0-9]{1,2})-([1-9][0-9]{0,2})", name)
    depth, widen = (int(found[1]), int(found[2])) if found else (0, 0)
    if depth < 10 or (depth - 4) % 6 or widen < 1:
        raise ValueError(
            f"model={shown(name)} is unknown: choose lenet-300-100, resnet-50 or wrn-D-K with D = 10, 16, "
            "22, ... and K >= 1"
        )
    return depth, widen


class DatasetFacts(BaseModel):
    """Properties of a data set: sizes in images, mean and std of pixels in [0, 1]."""

    model_config = ConfigDict(frozen=True)
    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


_CIFAR: dict[str, Any] = {"shape": (3, 32, 32), "train": 50_000, "test": 10_000}
DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(shape=(1, 8, 8), classes=10, train=1500, test=297, mean=(0.287,), std=(0.353,)),
    "fashion-mnist": DatasetFacts(
        shape=(1, 28, 28), classes=10, train=60_000, test=10_000, mean=(0.286,), std=(0.353,)
    ),
    "cifar10": DatasetFacts(
        **_CIFAR, classes=10, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)
    ),
    "cifar100": DatasetFacts(
        **_CIFAR, classes=100, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)
    ),
}


class Protocol(BaseModel):
    """The defaults of `RunConfig` under one protocol.

    Fields that end in `_share` are fractions of a run's steps, so that a shorter run keeps the shape of the
    schedule. At full length they give the report's step counts exactly (30,000 of 88,000 on CIFAR-10, 20,000
    of 78,250 and a warm-up of 2 epochs of 250 on CIFAR-100).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    epochs: int
    batch_size: int = 128
    validation: int
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augmentation: Augmentation = "crop-flip"
    dropout: float = 0.0
    pool: int = 1
    lr_drop_share: float = 30_000 / 88_000
    warmup_share: float = 0.0
    prune_start_share: float = PRUNE_START


# Where the report differs on CIFAR-100.
_CIFAR100: dict[str, Any] = {
    "validation": 10_000,
    "weight_decay": 1e-4,
    "label_smoothing": 0.1,
    "lr_drop_share": 20_000 / 78_250,
    "warmup_share": 2 / 250,
    "prune_start_share": 700 / 78_250,
}
PROTOCOLS: dict[tuple[str, str], Protocol] = {
    ("paper", "cifar10"): Protocol(model="wrn-22-2", epochs=250, validation=5000, dropout=0.3),
    ("paper", "cifar100"): Protocol(model="resnet-50", epochs=250, **_CIFAR100),
    ("tenth", "cifar10"): Protocol(model="wrn-22-2", epochs=25, validation=5000, dropout=0.3),
    ("tenth", "cifar100"): Protocol(model="resnet-50", epochs=25, **_CIFAR100),
    ("laptop", "fashion-mnist"): Protocol(
        model="lenet-300-100", epochs=20, validation=5000, augmentation="flip", pool=2
    ),
    ("laptop", "cifar10"): Protocol(model="wrn-10-2", epochs=20, validation=5000, pool=2),
    ("laptop", "cifar100"): Protocol(model="wrn-10-2", epochs=20, pool=2, **_CIFAR100),
    ("smoke", "digits"): Protocol(
        model="wrn-10-1", epochs=20, batch_size=32, validation=150, augmentation="none"
    ),
}


def protocol(name: str, dataset: str, model: str | None = None) -> Protocol:
    """The protocol called `name` on `dataset`, for its default model or for `model`.

    Dropout applies to wide residual networks only, and pooling not to LeNet.

    Raises ConfigError if the protocol is not defined for the data set.
    """
    known: dict[str, list[str]] = {}
    for each, data in PROTOCOLS:
        known.setdefault(each, []).append(data)
    if name not in known:
        raise ConfigError(f"protocol={shown(name)} is unknown: choose one of {', '.join(known)}")
    if dataset not in known[name]:
        raise ConfigError(
            f"protocol={shown(name)} is not defined for dataset={shown(dataset)}: choose "
            f"{', '.join(known[name])}"
        )
    found = PROTOCOLS[name, dataset]
    model = model or found.model
    change: dict[str, Any] = {"model": model}
    if not model.startswith("wrn"):
        change["dropout"] = 0.0
    if model.startswith("lenet"):
        change["pool"] = 1
    return found.model_copy(update=change)


def choose_protocol(name: str, dataset: str | None, cuda: bool) -> tuple[str, str]:
    """Resolve ``"auto"`` and a missing data set to a (protocol, dataset).

    "auto" is "smoke" for digits, "paper" if CUDA is available and the data set is CIFAR or not given, else
    "laptop" if a data set is given, else "smoke". A missing data set is the protocol's default.
    """
    if name == "auto":
        if dataset == "digits":
            name = "smoke"
        elif cuda and dataset != "fashion-mnist":
            name = "paper"
        else:
            name = "laptop" if dataset else "smoke"
    firsts = {"smoke": "digits", "laptop": "fashion-mnist"}
    return name, dataset or firsts.get(name, "cifar10")


class RunConfig(BaseModel):
    """The configuration of one training run. Omitted fields take the protocol's defaults, so that the record
    holds everything that determines the result.

    distribution  a name known to `rigl.layer_densities`, a map ``{layer: density}``, or the name of a record,
                  for the densities that its run ended with
    flops         a budget instead of `density`: forward FLOPs relative to the dense network
    density       None if `distribution` or `flops` determine it

    Raises ConfigError, one line with the invalid value and what is valid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: str = "rigl"
    density: float | None = Field(0.1, gt=0, le=1)
    distribution: dict[str, float] | str | None = "erk"
    flops: float | None = Field(None, gt=0, le=1)
    preset: str = Field("repro2021", description="of published implementations: repro2021 or google")
    alpha: float = Field(0.3, ge=0, le=1, description="drop fraction at the start")
    decay: Literal["cosine", "linear", "constant", "inverse-power"] = Field(
        "cosine", description="how the drop fraction falls"
    )
    delta_t: int = Field(100, ge=1, le=MOST, description="steps from one mask update to the next")
    t_end: float = Field(0.75, ge=0, le=1, description="share of the steps after which masks stay fixed")

    protocol: ProtocolName = "smoke"
    dataset: DatasetName
    model: str
    multiplier: int = Field(1, ge=1, le=MOST, description="how many times as long the run trains")
    seed: int = Field(0, ge=0, lt=2**31)
    epochs: int = Field(ge=1, le=MOST, description="before `multiplier`")
    batch_size: int = Field(ge=1, le=MOST, description="images per optimiser step")
    learning_rate: float = Field(0.1, gt=0)
    lr_drop_share: float = Field(
        gt=0, description="fraction of the steps between two drops of the learning rate"
    )
    lr_factor: float = Field(0.2, gt=0, le=1, description="factor of each drop of the learning rate")
    warmup_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the steps in which the learning rate rises linearly",
    )
    prune_start_share: float = Field(
        PRUNE_START, ge=0, lt=1, description="fraction of the steps before gradual pruning begins"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD")
    weight_decay: float = Field(ge=0, description="on weights, not on biases or normalisation")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability moved from the true class to all classes, in training only",
    )
    validation: int = Field(ge=0, description="training images held out to validate")
    augmentation: Augmentation
    dropout: float = Field(
        0.0, ge=0, lt=1, description="between the two convolutions of a wide residual network's block"
    )
    pool: int = Field(1, ge=1, description="size of the average pooling applied to all images first")
    precision: Precision = Field(
        "auto", description="auto is float32 under laptop and smoke, else bf16 if the device supports it"
    )

    execution: Literal["masked", "sparse", "auto"] = Field(
        "masked", description="of masked linear layers on a CPU: see rigl.Sparsifier"
    )

    def __init__(self, **knobs: Any) -> None:
        try:
            super().__init__(**knobs)
            if unused := self._unused():
                super().__init__(**self.model_dump() | unused)
        except ValidationError as error:
            raise ConfigError(_one_line(error)) from None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, knobs: Any) -> Any:
        if not isinstance(knobs, dict) or knobs.keys() >= cls.model_fields.keys():
            return knobs
        knobs = {key: value for key, value in knobs.items() if value is not None}
        name = knobs.setdefault("protocol", "smoke")
        if not isinstance(name, str):
            return knobs
        dataset = knobs.setdefault("dataset", choose_protocol(name, None, cuda=False)[1])
        if isinstance(dataset, str) and dataset in DATASETS:
            model = knobs.get("model")
            plan = protocol(name, dataset, model if isinstance(model, str) else None).model_dump()
            if _from_pruning(knobs.get("method")) and not plan["warmup_share"]:
                plan["warmup_share"] = PRUNING_WARMUP
            knobs = {**plan, **knobs}
        return knobs

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return method_named(name).name

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, name: str) -> str:
        return preset_named(name).name

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in ("lenet-300-100", "resnet-50"):
            parse_wrn(name)
        return name

    @field_validator("distribution")
    @classmethod
    def _known_distribution(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in DISTRIBUTIONS and not re.search("_[0-9a-f]{8}$", value):
            raise ValueError(
                f"distribution={shown(value)} is unknown: choose {', '.join(DISTRIBUTIONS)}, a map of layers "
                "to densities, or the name of a record"
            )
        if isinstance(value, dict):
            for name, density in value.items():
                if not 0 <= density <= 1:
                    raise ValueError(f"distribution: density={density:g} of {brief(name)} must lie in [0, 1]")
        return value

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        facts = DATASETS[self.dataset]
        self._check_budget()
        if self.validation >= facts.train:
            raise ValueError(f"validation={self.validation} must be below the {facts.train} training images")
        if self.pool > 1 and (facts.shape[1] % self.pool or facts.shape[2] % self.pool):
            raise ValueError(f"pool={self.pool} must divide the image size {facts.shape[1]}")
        if self.augmentation == "crop-flip" and min(self.input_shape[1:]) < 5:
            raise ValueError("augmentation='crop-flip' needs images of at least 5 pixels a side")
        return self

    def _check_budget(self) -> None:
        named, distributed = self.distribution in DISTRIBUTIONS, METHODS[self.method].distributed
        if self.flops is not None and not distributed:
            raise ValueError(f"flops={self.flops:g}: {self.method} takes a density, not a budget of FLOPs")
        if self.flops is not None and not named:
            raise ValueError(f"flops={self.flops:g} needs a distribution by name: {', '.join(DISTRIBUTIONS)}")

    def _unused(self) -> dict[str, Any]:
        """The knobs that the method does not use and that are not at their default, with the values that they
        get instead, so that equal runs have equal names."""
        rule = METHODS[self.method]
        found: dict[str, Any] = {}
        if self.method == "dense":
            found["density"] = 1.0
        if not rule.distributed:
            found["distribution"] = None
        elif self.flops is not None or self.distribution not in DISTRIBUTIONS:
            found["density"] = None
        idle = [] if rule.masked else ["preset", "execution"]
        if not rule.moves and not rule.source:  # a source takes its knobs from here
            idle += ["delta_t", "t_end"]
        if rule.grow is None:
            idle += ["alpha", "decay"]
        if not _from_pruning(self.method):
            idle += ["prune_start_share"]
        if self.precision == self.usual_precision:
            idle += ["precision"]
        found |= {knob: type(self).model_fields[knob].default for knob in idle}
        return {knob: value for knob, value in found.items() if getattr(self, knob) != value}

    def but(self, **knobs: Any) -> RunConfig:
        """The same run but for `knobs`; what is None here is left to its default."""
        return RunConfig(**self.model_dump(exclude_none=True) | knobs)

    @property
    def source(self) -> RunConfig | None:
        """The run whose final masks this one starts from; it differs in the method only."""
        method = METHODS[self.method].source
        return self.but(method=method) if method else None

    @property
    def usual_precision(self) -> Precision:
        """The meaning of ``precision="auto"`` under this protocol: float32 under ``"laptop"`` and
        ``"smoke"``, else ``"auto"``, which `devices.resolve_precision` resolves for the device."""
        return "float32" if self.protocol in FLOAT32 else "auto"

    @property
    def width_factor(self) -> float:
        """The factor of every hidden width: the square root of the density for small-dense, else 1."""
        return sqrt(self.density or 1.0) if self.method == "small-dense" else 1.0

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that the model sees."""
        channels, height, width = DATASETS[self.dataset].shape
        return channels, height // self.pool, width // self.pool

    @property
    def steps_per_epoch(self) -> int:
        return ceil((DATASETS[self.dataset].train - self.validation) / self.batch_size)

    @property
    def total_epochs(self) -> int:
        """`epochs` times `multiplier`."""
        return self.epochs * self.multiplier

    @property
    def total_steps(self) -> int:
        return self.total_epochs * self.steps_per_epoch

    @property
    def lr_drop_every(self) -> int:
        """Steps between two drops of the learning rate; `multiplier` stretches the schedule."""
        return max(1, round(self.lr_drop_share * self.total_steps))

    @property
    def warmup_steps(self) -> int:
        """Steps of linear warm-up; `multiplier` does not change it."""
        return round(self.warmup_share * self.epochs * self.steps_per_epoch)

    @property
    def prune_start_steps(self) -> int:
        """Steps before pruning begins; `multiplier` does not change it. GraNet begins at once."""
        if METHODS[self.method].grow is not None:
            return 0
        return round(self.prune_start_share * self.epochs * self.steps_per_epoch)

    @property
    def distribution_name(self) -> str | None:
        """A short name of the distribution: of a map its hash, of a record the end of its name."""
        if isinstance(self.distribution, dict):
            return "custom-" + _hash(self.distribution)[:4]
        if self.distribution is None or self.distribution in DISTRIBUTIONS:
            return self.distribution
        return "as-" + self.distribution[-8:]

    @property
    def label(self) -> str:
        """Method and distribution, for file names and axes: ``"rigl-erk"``."""
        name = self.distribution_name
        return self.method if name is None else f"{self.method}-{name}"

    @property
    def size(self) -> str:
        """The sparsity in words: ``"density 0.1"``, ``"0.2 of the FLOPs"``."""
        if self.flops is not None:
            return f"{self.flops:g} of the FLOPs"
        return f"density {self.density:g}" if self.density is not None else "densities given"

    def changes(self, *columns: str) -> str:
        """What differs from the defaults of the protocol and the method, apart from `columns`, as
        ``"alpha=0.5, delta_t=50"``."""
        given = ("protocol", "dataset", "model", "method", "distribution", "density", "multiplier", "seed")
        usual = RunConfig(**{key: getattr(self, key) for key in (*given, *columns)})
        return ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in self.model_dump().items()
            if value is not None and value != getattr(usual, key)
        )

    @property
    def run_id(self) -> str:
        """Eight hex digits of the SHA-256 of everything that determines the result.

        Fields at their own default are left out, so that a new field does not change the identity of older
        records.
        """
        return _hash(self.model_dump(mode="json", exclude_defaults=True))[:8]

    @property
    def name(self) -> str:
        """A readable file name: ``rigl-erk_d0.1_wrn-10-1_laptop_s0_1a2b3c4d``."""
        parts = [self.label]
        if self.flops is not None:
            parts.append(f"f{self.flops:g}")
        elif self.method != "dense" and self.density is not None:
            parts.append(f"d{self.density:g}")
        if self.multiplier > 1:
            parts.append(f"{self.multiplier}x")
        parts += [self.model, self.protocol, f"s{self.seed}", self.run_id]
        return "_".join(parts)


def _from_pruning(method: object) -> bool:
    """Whether a method only prunes, or starts from the masks of one that does."""
    rule = METHODS.get(method) if isinstance(method, str) else None
    return rule is not None and METHODS[rule.source or rule.name].only_prunes


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def flag(name: str, value: object) -> bool:
    """`value` as that of a notebook's parameter which is on or off. Raises ConfigError for anything else."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={shown(value)} is not right: it should be True or False")
    return value


def parameters(
    namespace: Mapping[str, Any], before: set[str], known: Sequence[str], left: set[str]
) -> dict[str, Any]:
    """The parameters of a notebook: those of `known` that are set in its ``globals()``.

    before  the names defined before the parameters cell
    left    names defined by later cells, which exist when a live kernel runs the cells again

    Raises ConfigError for any other new public name, and for a value that no parameter can have.
    """
    since = {name for name in namespace if name not in before and not name.startswith("_")}
    check_names(since - left, set(known))
    given = {name: namespace[name] for name in known if namespace.get(name) is not None}
    for name, value in given.items():
        _check_plain(name, value)
    return given


def _check_plain(name: str, value: object) -> None:
    """Raise ConfigError unless a parameter is a number of ordinary size, printable text, or a map of
    densities."""
    if isinstance(value, str):
        wrong = not value or not value.isprintable()
    elif isinstance(value, int):
        wrong = abs(value) >= 2**63
    else:
        wrong = not isinstance(value, Real) and not (name == "distribution" and isinstance(value, dict))
    if wrong:
        raise ConfigError(f"{name}={shown(value)} is not right: it should be plain text or a number")


def check_names(given: set[str], known: set[str]) -> None:
    """Raise ConfigError for an unknown parameter, and suggest the nearest known name."""
    for name in sorted(given - known):
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else f": choose from {', '.join(sorted(known))}"
        raise ConfigError(f"unknown parameter {shown(name)}{hint}")


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        try:
            check_names({str(first["loc"][0])}, set(RunConfig.model_fields))
        except ConfigError as unknown:
            return str(unknown)
    if first["type"] == "value_error":
        text = str(first["ctx"]["error"])  # rigl.sparsity echoes a value whole
        return text.replace(repr(first["input"]), shown(first["input"])) if len(text) > 300 else text
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    name = ".".join(str(part) for part in first["loc"])
    return f"{brief(name)}={shown(first['input'])} is not right: it should be {brief(message, 200)}"
