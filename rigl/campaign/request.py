"""Parses and checks the arguments of a campaign, without importing torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from rigl.campaign import experiments
from rigl.training.config import ConfigError, RunConfig, shown

Number = TypeVar("Number", int, float)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Request:
    """Tables and figures, and the options of `rigl.campaign.experiments.configs`."""

    tables: tuple[str, ...]
    protocol: str
    seeds: tuple[int, ...] = experiments.SEEDS
    densities: tuple[float, ...] | None = None
    dataset: str | None = None
    model: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("protocol", "densities", "dataset", "model")}

    def runs(self) -> list[RunConfig]:
        """All runs, in the order in which to train them."""
        return experiments.runs(self.tables, seeds=self.seeds, **self.options)

    def rows(self, name: str) -> list[tuple[RunConfig, ...]]:
        """The rows of a table, each as a tuple of runs, one per seed."""
        each = [experiments.configs(name, seed=seed, **self.options) for seed in self.seeds]
        return list(zip(*each, strict=True))


def request(
    tables: str,
    *,
    protocol: str = "laptop",
    seeds: str = "0,1,2",
    densities: str | None = None,
    dataset: str | None = None,
    model: str | None = None,
) -> Request:
    """Parse a request: `tables` separated by spaces or commas, or ``"all"``; numbers separated by commas.

    Raises ConfigError, one line, for invalid arguments.
    """
    names = re.split(r"[\s,]+", tables.strip())
    made = Request(
        tables=tuple(experiments.TABLES if "all" in names else dict.fromkeys(names)),
        protocol=protocol,
        seeds=numbers("seeds", seeds, int),
        densities=None if densities is None else numbers("densities", densities, float),
        dataset=dataset,
        model=model,
    )
    made.runs()
    return made


def seconds(text: str) -> float:
    """A time such as ``"90s"``, ``"9m"`` or ``"1h30m"`` in seconds. Raises ConfigError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    found = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not 0 < found < 1e9 or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"time limit {shown(text)} is invalid: use a format such as 90s, 9m or 1h30m")
    return found


def numbers(name: str, text: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    """Parse comma-separated numbers and remove duplicates. Raises ConfigError."""
    try:
        return tuple(dict.fromkeys(kind(each) for each in text.split(",")))
    except ValueError:
        example = "0,1,2" if kind is int else "0.05,0.1"
        raise ConfigError(f"{name} {shown(text)} is not a list of numbers such as {example}") from None


def whole(name: str, value: Any, least: int) -> int:
    """Check that a value is a whole number from `least` on. Raises ConfigError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}={shown(value)} is not right: it should be a whole number from {least} on")
    return value


def need(module: str, what: str) -> None:
    """Raise ConfigError, which says `what` needs it, if a module of the extra "campaign" is not installed."""
    if find_spec(module) is None:
        raise ConfigError(f'{what} {module.replace("_", "-")}: pip install -e ".[campaign]"')
