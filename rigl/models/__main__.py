"""``python -m rigl.models``: write ``results/layers.json``, the models for a reader without torch."""

from __future__ import annotations

from pathlib import Path

import torch

from rigl.config import DATASETS, RunConfig
from rigl.layers import describe
from rigl.models import build
from rigl.shapes import Layer, save_layers

PATH = Path(__file__).parents[2] / "results" / "layers.json"
SHOWN = (  # the pairs of model and data set that the protocols train
    RunConfig(protocol="paper", dataset="cifar10"),
    RunConfig(protocol="paper", dataset="cifar100"),
    RunConfig(protocol="laptop", dataset="fashion-mnist"),
    RunConfig(protocol="laptop", dataset="fashion-mnist", model="wrn-10-1"),
    RunConfig(protocol="laptop", dataset="cifar10"),
    RunConfig(protocol="smoke", dataset="digits"),
)


def shown_layers() -> dict[str, list[Layer]]:
    """``{"MODEL on DATASET": layers}`` for the pairs in `SHOWN`."""
    found = {}
    for config in SHOWN:
        with torch.device("meta"):
            model = build(config.model, DATASETS[config.dataset].classes, input_shape=config.input_shape)
        found[f"{config.model} on {config.dataset}"] = describe(model, config.input_shape)
    return found


if __name__ == "__main__":
    save_layers(shown_layers(), PATH)
    print(PATH)
