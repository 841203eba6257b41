"""The masks that a sparsifier starts from: drawn at random, taken from the weights, or given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rigl.sparsity.distributions import active_counts, layer_densities, uniform_stem
from rigl.sparsity.masks import drop, random_mask
from rigl.sparsity.methods import Method, Preset
from rigl.sparsity.shapes import Layer, first_conv
from rigl.sparsity.updates import whole_channels


@dataclass(frozen=True)
class FirstMasks:
    """First masks of `layers` under a method.

    channels      each layer's dimension of output channels, None where it has none of its own
    distribution  by name or as a map, see `rigl.sparsity.distributions.layer_densities`
    """

    method: Method
    preset: Preset
    layers: Sequence[Layer]
    channels: Mapping[str, int | None]
    distribution: str | Mapping[str, float | str]

    @cached_property
    def always_dense(self) -> set[str]:
        """Layers whose masks stay full: the first convolution under pruning, uniform masks and the google
        preset; the output layers, and what has no output channels of its own, under structured sparsity.

        Raises ValueError where the method would have no layer left to mask.
        """
        dense: set[str] = set()
        stem = first_conv(self.layers)
        exempt = self.method.only_prunes or not self.preset.masks_first_conv
        if stem and (exempt or stem == uniform_stem(self.layers, self.distribution)):
            dense.add(stem)
        if self.method.channels:
            linear = [layer.name for layer in self.layers if layer.kind == "linear"]
            dense |= {name for name, channels in self.channels.items() if channels is None}
            dense |= set(linear if stem else linear[-1:])
        if (self.method.prunes or self.method.channels) and len(dense) == len(self.layers):
            raise ValueError(f"{self.method.name} has no layer to mask here: all of them stay dense")
        return dense

    def made(
        self,
        masks: Mapping[str, Tensor] | str | None,
        weights: Mapping[str, Tensor],
        density: float | None,
        flops: float | None,
        seed: int,
    ) -> Mapping[str, Tensor]:
        """The masks that `rigl.Sparsifier` is asked for by `masks`.

        Raises ValueError for a budget that cannot be met, and for masks that do not fit the model.
        """
        if masks is None or masks == "magnitude":
            if self.method.only_prunes:
                return {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in self.layers}
            return self._counted(density, flops, seed, weights if masks == "magnitude" else None)
        if masks == "nonzero":
            if not self.method.prunes and (density is not None or flops is not None):
                raise ValueError(
                    f"masks='nonzero' decides the density: density={density}, flops={flops} do not apply"
                )
            masks = {name: weight.detach() != 0 for name, weight in weights.items()}
        if isinstance(masks, str):
            raise ValueError(f"masks={masks!r} is unknown: choose nonzero or magnitude, or give tensors")
        self._check(masks)
        return masks

    def _counted(
        self, density: float | None, flops: float | None, seed: int, weights: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Masks of exact counts: drawn at random, or of the largest of `weights`."""
        always_dense = self.always_dense if self.method.channels else set()
        densities = layer_densities(
            self.layers,
            density,
            self.distribution,
            flops=flops,
            mask_first_conv=self.preset.masks_first_conv,
            dense=always_dense,
        )
        counts = active_counts(self.layers, densities)
        empty = [layer.name for layer in self.layers if not counts[layer.name]]
        if empty and not isinstance(self.distribution, Mapping):
            asked = f"density={density}" if flops is None else f"flops={flops}"
            raise ValueError(f"{asked} leaves {empty[0]} without a weight: it should be larger")
        generator = torch.Generator().manual_seed(seed)
        masks = {}
        for layer in self.layers:
            name, channels = layer.name, self.channels[layer.name]
            weight = None if weights is None else weights[name].detach()
            if self.method.channels and name not in always_dense and channels is not None:
                size = layer.shape[channels]
                if weight is not None:
                    weight = weight.abs().movedim(channels, 0).flatten(1).mean(1)
                units = _mask((size,), max(1, round(densities[name] * size)), weight, generator)
                masks[name] = whole_channels(units, layer.shape, channels)
            else:
                masks[name] = _mask(layer.shape, counts[name], weight, generator)
        return masks

    def _check(self, masks: Mapping[str, Tensor]) -> None:
        """Raise ValueError for masks that do not fit the model, or the method's channels."""
        shapes = {layer.name: layer.shape for layer in self.layers}
        if {name: tuple(mask.shape) for name, mask in masks.items()} != shapes:
            raise ValueError("the masks given do not have this model's names and shapes")
        if self.method.channels:
            for name in masks.keys() - self.always_dense:
                channels = masks[name].movedim(self.channels[name] or 0, 0).flatten(1)
                if not torch.equal(channels.any(1), channels.all(1)):
                    raise ValueError(f"the mask given for {name} is not of whole output channels")

    def check_pruned(self, density: float | None) -> float:
        """`density` as the one to prune to. Raises ValueError where it leaves less than a weight a layer."""
        if density is None or not 0 < density <= 1:
            raise ValueError(f"density={density} must lie in (0, 1]")
        dense = self.always_dense
        moving = [layer for layer in self.layers if layer.name not in dense]
        size = sum(layer.numel for layer in moving)
        if round(density * size) < len(moving):
            raise ValueError(
                f"density={density} leaves less than a weight a layer: at least {len(moving) / size:.3g}"
            )
        return density


def _mask(shape: tuple[int, ...], count: int, weight: Tensor | None, generator: torch.Generator) -> Tensor:
    """A mask of `count` places: those of the largest weights where these are given, else drawn at random."""
    if weight is None:
        return random_mask(shape, count, generator)
    return drop(weight, torch.ones_like(weight, dtype=torch.bool), weight.numel() - count)
