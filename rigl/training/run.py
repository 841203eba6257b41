"""The state of a run: model, optimiser and masks on their device, and the FLOPs of its steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from rigl.sparsity.flops import forward_flops, step_flops
from rigl.sparsity.layers import describe
from rigl.sparsity.shapes import Layer, network_density
from rigl.sparsity.sparsifier import Sparsifier
from rigl.training.config import DATASETS, ConfigError, RunConfig
from rigl.training.devices import resolve_precision
from rigl.training.models import build, layers_of
from rigl.training.records import Record

# What a record's hash covers of a sparsifier's state.
HASHED = ("method", "seed", "step_count", "update_count", "last_update", "masks")
# Initial weights come from torch's global generator.
_INITIAL = Lock()


@dataclass
class Start:
    """What a run takes from other runs: the record and final masks of its source, or the layer densities of
    a record."""

    source: Record | None = None
    masks: dict[str, Tensor] | None = None
    densities: dict[str, float] | None = None


@dataclass
class Ledger:
    """FLOPs per sample, summed over the steps so far: of their forward passes, and in total."""

    steps: int = 0
    forward: float = 0.0
    training: float = 0.0

    def add(self, forward: float, dense: float, dense_gradient: bool) -> None:
        self.steps += 1
        self.forward += forward
        self.training += step_flops(forward, dense, dense_gradient)


@dataclass
class Run:
    """The model, optimiser and masks of a run, on their device."""

    config: RunConfig
    device: torch.device
    precision: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    sparsifier: Sparsifier
    layers: list[Layer]
    ledger: Ledger
    _cost: tuple[int, float, float] | None = None

    def layer_densities(self) -> list[float]:
        """The current density of each of `layers`."""
        densities = self.sparsifier.densities
        return [densities.get(layer.name, 1.0) for layer in self.layers]

    def forward_flops(self) -> float:
        """FLOPs of one sample's forward pass with the current masks."""
        return forward_flops(self.layers, self.sparsifier.densities)

    def density(self) -> float:
        """Active weights over all weights of the maskable layers."""
        return network_density(self.layers, self.sparsifier.densities)

    def count_step(self) -> None:
        """Add the cost of the current step to the ledger; call it before the optimiser's step."""
        updates = self.sparsifier.update_count
        if self._cost is None or self._cost[0] != updates:
            self._cost = updates, self.forward_flops(), forward_flops(self.layers)
        _, forward, dense = self._cost
        method, at_update = self.sparsifier.method, self.sparsifier.update_due
        self.ledger.add(forward, dense, method.needs_dense_gradients(at_update))

    def hashed_state(self) -> dict[str, Any]:
        """The state that a record's `state_sha256` is the hash of: another key would change every hash."""
        optimizer = self.optimizer.state_dict()
        sparsifier = self.sparsifier.state_dict()
        for group in optimizer["param_groups"]:
            group["lr"] = float(group["lr"])  # captured steps keep it on the device
        return {
            "model": self.model.state_dict(),
            "optimizer": optimizer,
            "sparsifier": {key: value for key, value in sparsifier.items() if key in HASHED},
        }

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here."""
        whole = {**self.hashed_state(), "sparsifier": self.sparsifier.state_dict()}
        return {**whole, "ledger": vars(self.ledger).copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sparsifier.load_state_dict(state["sparsifier"])
        self.ledger = Ledger(**state["ledger"])


def build_run(config: RunConfig, device: torch.device, start: Start | None = None) -> Run:
    """Build model, optimiser and sparsifier. Raises ConfigError for options that are invalid together or with
    this model."""
    start = start or Start()
    with _INITIAL, torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(config.seed)
        model = build(
            config.model,
            DATASETS[config.dataset].classes,
            config.width_factor,
            input_shape=config.input_shape,
            dropout=config.dropout,
        )
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # As in the report, biases and normalisation have no weight decay.
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        fused=True,
    )
    try:
        sparsifier = Sparsifier(
            model,
            optimizer,
            method=config.method,
            density=config.density,
            distribution=start.densities or config.distribution or "uniform",
            flops=config.flops,
            input_shape=config.input_shape,
            masks=start.masks,
            total_steps=config.total_steps,
            alpha=config.alpha,
            decay=config.decay,
            delta_t=config.delta_t,
            t_start=config.prune_start_steps / config.total_steps,
            t_end=config.t_end,
            preset=config.preset,
            seed=config.seed,
            execution=config.execution,
        )
    except ValueError as error:
        raise ConfigError(f"{config.method}: {error}") from None
    wanted = config.usual_precision if config.precision == "auto" else config.precision
    precision = resolve_precision(wanted, device)
    layers = describe(model, config.input_shape)
    return Run(config, device, precision, model, optimizer, sparsifier, layers, Ledger())


def full_layers(config: RunConfig) -> tuple[Layer, ...]:
    """The layers of the dense model of full width."""
    return layers_of(config.model, DATASETS[config.dataset].classes, input_shape=config.input_shape)


def fingerprint(state: Any) -> str:
    """SHA-256 over every tensor and number in a nested state, in order."""
    digest = hashlib.sha256()
    for path, value in _leaves("", state):
        digest.update(path.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{path}/{key}", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}/{index}", inner)
    else:
        yield path, value
