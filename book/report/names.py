"""Names for people: methods, masks, networks, data sets, settings and the report's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rigl.sparsity.methods import METHODS as ROWS
from rigl.training.config import RunConfig

METHODS = {
    "dense": "Dense",
    "small-dense": "Small-dense",
    "static": "Static",
    "set": "SET",
    "snfs": "SNFS",
    "rigl": "RigL",
    "rigl-sg": "RigL-SG",
    "rigl-sm": "RigL-SM",
    "rigl-reinit": "RigL re-initialised",
    "rigl-struct": "RigL-struct",
    "rigl-global": "Global RigL",
    "granet": "GraNet",
    "mest": "MEST",
    "pruning": "Pruning",
    "lottery": "Lottery ticket",
}
MASKS = {"uniform": "uniform", "er": "ER", "erk": "ERK", "erk-flops": "ERK-FLOPs"}
DATASETS = {
    "digits": "digits",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}
FAMILIES = {"wrn": "WRN", "lenet": "LeNet", "resnet": "ResNet"}
KNOBS = {"delta_t": "Delta-T", "flops": "FLOPs", "validation": "validation images", "precision": "precision"}
PRESET: str = RunConfig.model_fields["preset"].default
PROTOCOLS = {
    "paper": "paper: the report's own",
    "tenth": "tenth: a tenth of its epochs",
    "laptop": "laptop: small networks, no GPU",
    "smoke": "smoke: a first try, in seconds",
}


def method(name: str) -> str:
    """``"rigl-sg"`` as ``"RigL-SG"``; a method that somebody added keeps its name."""
    return METHODS.get(name, name)


def masks(name: str | float | None) -> str:
    """``"erk"`` as ``"ERK"``; ``"as rigl-sm-uniform"``, densities found by a run, as ``"as RigL-SM
    (uniform)"``; ``"-"`` where there are none."""
    if not isinstance(name, str):
        return "-"
    if name.startswith("as "):
        source = max((each for each in ROWS if name.startswith(f"as {each}")), key=len, default=name[3:])
        return f"as {setting(source, name.removeprefix(f'as {source}').removeprefix('-') or None)}"
    return MASKS.get(name, name)


def network(name: str) -> str:
    """``"wrn-22-2"`` as ``"WRN-22-2"``."""
    family, dash, sizes = name.partition("-")
    return FAMILIES.get(family, family) + dash + sizes


def dataset(name: str) -> str:
    """``"cifar10"`` as ``"CIFAR-10"``."""
    return DATASETS.get(name, name)


def shape(sizes: Sequence[int]) -> str:
    """A layer's shape as ``"16 x 3 x 3 x 3"``."""
    return " x ".join(map(str, sizes))


def place(model: str, data: str) -> str:
    """A network and a data set as ``"WRN-22-2 on CIFAR-10"``."""
    return f"{network(model)} on {dataset(data)}"


def title(name: str) -> str:
    """``"wrn-22-2 on cifar10"``, as ``results/layers.json`` has it, as ``"WRN-22-2 on CIFAR-10"``."""
    model, on, data = name.partition(" on ")
    return place(model, data) if on else name


def changed(variant: str) -> str:
    """What a run changes of its protocol, ``"learning_rate=0.05"``, as ``"learning rate 0.05"``."""
    for knob, words in KNOBS.items():
        variant = variant.replace(f"{knob}=", f"{words} ")
    return variant.replace("validation images 0", "no validation images").replace("_", " ").replace("=", " ")


def setting(
    name: str,
    distribution: str | None = None,
    multiplier: int = 1,
    preset: str = PRESET,
    variant: str = "",
) -> str:
    """A method, its masks, and whatever else is not usual, as ``"RigL (ERK), 2x, alpha 0.5"``."""
    shared = f" ({masks(distribution)})" if isinstance(distribution, str) else ""
    parts = [method(name) + shared, f"{multiplier}x" if multiplier > 1 else ""]
    parts += [f"preset {preset}" if preset != PRESET else "", changed(variant or "")]
    return ", ".join(filter(None, parts))


def of(row: pd.Series | dict[str, Any]) -> str:
    """The `setting` of a run or a setting that is a row of a frame."""
    return setting(
        row["method"], row["distribution"], row["multiplier"], row["preset"], row.get("variant", "")
    )


def table(name: str) -> str:
    """A table's or figure's name as the report has it: ``"Table 2 of the supplement"``."""
    plain = name.removeprefix("supplement-")
    return f"{plain[:-1].title()} {plain[-1]}" + (" of the supplement" if plain != name else "")
