"""Maskable layers as plain numbers, so that densities and FLOPs need no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """The weight of one layer.

    name       the parameter's name in its model, e.g. ``"stem.weight"``
    kind       ``"conv"`` or ``"linear"``
    shape      the weight's shape: ``(out, in)`` or ``(out, in / groups, *kernel)``
    positions  how often one sample uses each weight: the output's height times width for a
               convolution, 1 for a linear layer on a vector, the number of tokens for one on a sequence;
               0 where no input shape was given
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    positions: float = 0

    @cached_property
    def numel(self) -> int:
        """Weights in this layer."""
        return prod(self.shape)


def first_conv(layers: Iterable[Layer]) -> str | None:
    """The name of the first convolution, which uniform masks leave dense, or None."""
    return next((layer.name for layer in layers if layer.kind == "conv"), None)


def network_density(layers: Sequence[Layer], densities: Mapping[str, float]) -> float:
    """Active weights over all weights; a layer missing from `densities` is dense."""
    active = sum(layer.numel * densities.get(layer.name, 1.0) for layer in layers)
    return active / sum(layer.numel for layer in layers)


def save_layers(models: dict[str, list[Layer]], path: str | Path) -> None:
    """Write ``{model: layers}`` as JSON, one layer a line so that a diff can be read."""
    blocks = []
    for model, layers in models.items():
        rows = ",\n".join("  " + json.dumps(asdict(layer)) for layer in layers)
        blocks.append(f"{json.dumps(model)}: [\n{rows}\n]")
    Path(path).write_text("{\n" + ",\n".join(blocks) + "\n}\n")


def load_layers(path: str | Path) -> dict[str, list[Layer]]:
    """What `save_layers` wrote."""
    return {
        model: [Layer(**{**row, "shape": tuple(row["shape"])}) for row in rows]
        for model, rows in json.loads(Path(path).read_text()).items()
    }


def narrowed(layers: Sequence[Layer], factor: float) -> list[Layer]:
    """The layers of the same network with every hidden width times `factor`, cut to an integer, as
    `rigl.training.models.build` makes it: ResNet's blocks widen four times what is left."""
    blocks = any(layer.name.startswith("layer") for layer in layers)

    def width(value: int, expanded: bool) -> int:
        return 4 * max(1, int(value // 4 * factor)) if expanded else max(1, int(value * factor))

    found = []
    for index, layer in enumerate(layers):
        out, inputs, *kernel = layer.shape
        widened = blocks and ("conv3" in layer.name or "downsample" in layer.name)
        reads = blocks and ("conv1" in layer.name or "downsample" in layer.name or "fc" in layer.name)
        reads = reads and not layer.name.startswith("layer1.0")  # which reads the stem
        if index < len(layers) - 1:
            out = width(out, widened)
        if index > 0:
            inputs = width(inputs, reads)
        found.append(replace(layer, shape=(out, inputs, *kernel)))
    return found
