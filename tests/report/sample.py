"""Records made by hand, as a run would write them."""

from __future__ import annotations

from typing import Any

from book.report import runs
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.shapes import Layer
from rigl.training.config import RunConfig
from rigl.training.records import Flops, LayerRecord, Provenance, Record

LENET = [
    Layer("fc1.weight", "linear", (300, 784), 1),
    Layer("fc2.weight", "linear", (100, 300), 1),
    Layer("fc3.weight", "linear", (10, 100), 1),
]
CONV = [
    Layer("stem.weight", "conv", (16, 3, 3, 3), 64),
    Layer("body.weight", "conv", (32, 16, 3, 3), 16),
    Layer("head.weight", "linear", (10, 32), 1),
]


def record(
    accuracy: float | None = 88.0, device: str = "a processor", computed: str = "", **knobs: Any
) -> Record:
    """A record of the protocol "laptop" on Fashion-MNIST; no accuracy makes it one that diverged, no
    `computed` precision one in its protocol's usual."""
    config = RunConfig(**{"protocol": "laptop", "dataset": "fashion-mnist", **knobs})
    shares = {layer.name: 1.0 for layer in LENET}
    cost = config.flops or config.density
    if config.distribution:
        shares = layer_densities(LENET, config.density, config.distribution, flops=config.flops)
    return Record(
        name=config.name,
        status="diverged" if accuracy is None else "finished",
        config=config,
        test_accuracy=accuracy,
        validation_accuracy=accuracy,
        history={
            "train_loss": [1.0, 0.5, 0.4],
            "validation_loss": [1.1, 0.7, None],
            "validation_accuracy": [60.0, 80.0, accuracy],
            "learning_rate": [0.1, 0.1, 0.02],
        },
        density_steps=[0, config.total_steps],
        layers=[LayerRecord(name=x.name, shape=x.shape, density=[shares[x.name]] * 2) for x in LENET],
        parameters=266_610,
        active_parameters=27_000,
        updates=64,
        state_sha256="0" * 64,
        flops=Flops(
            dense_forward=532_400,
            forward=532_400 * cost,
            training=3 * 532_400 * cost,
            train_ratio=cost,
            test_ratio=cost,
        ),
        provenance=Provenance(
            commit="0123456789abcdef",
            clean=False,
            versions={"python": "3.12"},
            device=device,
            threads=2,
            precision=computed or runs.expected_precision(config.protocol),
            data_sha256="0" * 64,
            started="2025-01-01T00:00:00+00:00",
            wall_seconds=30.0,
            peak_memory=None,
            resumed=0,
        ),
    )
