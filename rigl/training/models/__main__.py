"""``python -m rigl.training.models``: write ``results/layers.json``, for a reader without torch."""

from __future__ import annotations

from pathlib import Path

from rigl.sparsity.shapes import Layer, save_layers
from rigl.training.config import DATASETS, RunConfig
from rigl.training.models import layers_of

PATH = Path(__file__).parents[3] / "results" / "layers.json"
SHOWN = (  # the pairs of model and data set that the protocols train
    RunConfig(protocol="paper", dataset="cifar10"),
    RunConfig(protocol="paper", dataset="cifar100"),
    RunConfig(protocol="laptop", dataset="fashion-mnist"),
    RunConfig(protocol="laptop", dataset="fashion-mnist", model="wrn-10-1"),
    RunConfig(protocol="laptop", dataset="cifar10"),
    RunConfig(protocol="laptop", dataset="cifar100"),
    RunConfig(protocol="smoke", dataset="digits"),
)


def shown_layers() -> dict[str, list[Layer]]:
    """``{"MODEL on DATASET": layers}`` for the pairs in `SHOWN`."""
    return {
        f"{config.model} on {config.dataset}": [
            *layers_of(config.model, DATASETS[config.dataset].classes, input_shape=config.input_shape)
        ]
        for config in SHOWN
    }


if __name__ == "__main__":
    save_layers(shown_layers(), PATH)
    print(PATH)
