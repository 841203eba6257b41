"""Which engine takes a run's steps."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from rigl.training.capture import Captured, Repeats
from rigl.training.config import ENGINES, ConfigError
from rigl.training.devices import slug
from rigl.training.engine import Engine
from rigl.training.project import root
from rigl.training.run import Run


class Compiled(Engine):
    """Steps through the network as torch.compile makes it, for whole batches of training; what is compiled
    once serves every step, since masks are applied outside the network."""

    name = "compiled"

    def __init__(self, run: Run) -> None:
        from torch._inductor.cpp_builder import (
            get_cpp_compiler,
        )  # a second, which other engines need not wait

        super().__init__(run)
        try:
            get_cpp_compiler()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"engine='compiled' needs a C++ compiler ({reason}): choose eager") from None
        torch.compiler.reset()  # of several networks in one process, the ninth would quietly run uncompiled
        self.network = torch.compile(run.model, dynamic=False)  # type: ignore[assignment]

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        network = self.network
        if len(x) < self.run.config.batch_size:  # an epoch's last, which would be compiled for itself
            self.network = self.run.model
        try:
            return super().backward(x, y)
        finally:
            self.network = network


def choose(run: Run, name: str = "auto") -> Engine:
    """The engine called `name` for `run`.

    ``"eager"`` takes steps one by one, ``"captured"`` replays them as CUDA graphs (on a CPU, where there are
    none, it goes through the same motions), ``"compiled"`` goes through torch.compile, which gains
    on networks without dropout and loses on those with it. ``"auto"`` is captured
    on a GPU where ``python -m benchmarks --verify`` found both to agree, for one process, else eager. Raises
    ConfigError for another name, for captured or compiled steps in several processes, and for compiled ones
    where there is no C++ compiler.
    """
    if name not in ENGINES:
        raise ConfigError(f"engine={name!r} is unknown: choose one of {', '.join(ENGINES)}")
    if name == "compiled" and run.device.type != "cpu":
        raise ConfigError("engine='compiled' is for the CPU: choose auto")
    if name == "compiled":
        return Compiled(run)
    cuda = run.device.type == "cuda"
    if name == "captured" or (name == "auto" and cuda and verified(run.device)):
        return Captured(run, None if cuda else Repeats())
    return Engine(run)


def verdict_path(device: torch.device) -> Path:
    """Where ``python -m benchmarks --verify`` keeps what it found on `device`. Raises FileNotFoundError
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
