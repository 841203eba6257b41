"""How a network's density is shared out among its layers (report, section 3, "Mask Initialization")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from rigl.sparsity.flops import check_positions, forward_flops
from rigl.sparsity.shapes import Layer, first_conv

DISTRIBUTIONS = ("uniform", "er", "erk", "erk-flops")


def layer_densities(
    layers: Sequence[Layer],
    density: float | None = None,
    distribution: str | Mapping[str, float] = "erk",
    *,
    flops: float | None = None,
    mask_first_conv: bool = True,
    dense: Collection[str] = (),
) -> dict[str, float]:
    """The density of each layer, in (0, 1] or as a map of your own has it, as ``{name: density}``.

    layers           the maskable layers, in the model's order
    density          the target, active weights over all weights, in (0, 1]
    distribution     ``"uniform"``: every layer at `density`, except that the first convolution stays
                     dense and is neither compensated for nor counted in the target;
                     ``"er"``: proportional to (Cin + Cout) / (Cin Cout) (Mocanu et al. 2018);
                     ``"erk"``: proportional to the sum of all the weight's dimensions over their
                     product (Evci et al. 2020, section 3);
                     ``"erk-flops"``: ERK over the number of positions a weight is used at. ERK's active
                     weights, k proportional to the sum of dimensions s, maximise sum(s log k) at a given
                     number of weights; these, k proportional to s / positions, at given FLOPs;
                     or a map ``{name: density}`` of your own
    flops            a budget in place of `density`: forward FLOPs over the dense network's, in (0, 1];
                     the distribution's density that costs so much is found
    mask_first_conv  False keeps the first convolution dense, and out of the target, under the others
                     too (the original authors' code)
    dense            names of layers that stay dense; the others' densities are lowered to compensate

    Except under ``"uniform"`` the whole network's density is `density`: what layers that would need more
    than all their weights cannot take is given to the others.

    Raises ValueError for a density outside (0, 1], both a density and flops, an unknown distribution, no
    layers, a map that does not name every layer, a budget or dense layers that leave nothing for the rest,
    and, where FLOPs matter, layers described without an input shape.
    """
    if not layers:
        raise ValueError("layers is empty: the model has no convolution or linear layer to mask")
    if isinstance(distribution, Mapping):
        return _custom(layers, distribution)
    if density is not None and flops is not None:
        raise ValueError(f"density={density} and flops={flops}: it should be one of them")
    if distribution not in DISTRIBUTIONS:
        raise ValueError(
            f"distribution={distribution!r} is unknown: choose one of {', '.join(DISTRIBUTIONS)}"
        )
    stem = first_conv(layers)
    exempt = {stem} if distribution == "uniform" or not mask_first_conv else set()
    counted = [layer for layer in layers if layer.name not in exempt]
    masked = [layer for layer in counted if layer.name not in dense]
    everything = {layer.name: 1.0 for layer in layers}
    if not masked:
        wanted = flops if flops is not None else density if counted else 1.0
        if wanted is not None and wanted < 1:
            raise ValueError(
                f"{wanted:g} is too low: the layers that stay dense cost all, and no other is left"
            )
        return everything
    raw = _raw(masked, distribution)

    names = [layer.name for layer in masked]

    def at(density: float) -> dict[str, float]:
        total, free = (sum(layer.numel for layer in some) for some in (counted, masked))
        rest = density if free == total else (density * total - (total - free)) / free
        if rest <= 0:
            kept = 1 - free / total
            raise ValueError(f"density={density:g} is too low: the layers that stay dense take {kept:.4g}")
        found = _scaled(masked, raw, rest) if distribution != "uniform" else dict.fromkeys(names, rest)
        return everything | found

    if flops is None:
        if density is None or not 0 < density <= 1:
            raise ValueError(f"density={density} must lie in (0, 1]")
        return at(float(density))
    if not 0 < flops <= 1:
        raise ValueError(f"flops={flops} must lie in (0, 1]")
    least = 1 - sum(layer.numel for layer in masked) / sum(layer.numel for layer in counted)
    return _at_cost(layers, at, flops, least)


def _at_cost(
    layers: Sequence[Layer], at: Callable[[float], dict[str, float]], flops: float, least: float
) -> dict[str, float]:
    """The densities ``at(density)`` whose forward FLOPs are `flops` of dense, by bisection above `least`."""
    dense = forward_flops(layers)

    def cost(density: float) -> float:
        return forward_flops(layers, at(density)) / dense

    low, high = least + 1e-9, 1.0
    if cost(low) > flops:
        raise ValueError(
            f"flops={flops:g} is too low: the layers that stay dense cost {cost(low):.4g} of all"
        )
    for _ in range(60):  # halves the interval to below a double's resolution
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) < flops else (low, middle)
    return at(high)


def _raw(layers: Sequence[Layer], distribution: str) -> np.ndarray:
    """What each layer's density is proportional to, up to a factor common to all."""
    if distribution == "er":
        return np.array([sum(layer.shape[:2]) / float(np.prod(layer.shape[:2])) for layer in layers])
    raw = np.array([sum(layer.shape) / layer.numel for layer in layers])
    if distribution != "erk-flops":
        return raw
    check_positions(layers)
    positions = np.array([float(layer.positions) for layer in layers])
    found: np.ndarray = raw / positions
    return found


def active_counts(layers: Sequence[Layer], densities: Mapping[str, float]) -> dict[str, int]:
    """Active weights of each layer, ``round(density * numel)``: exact, where a coin toss a weight drifts."""
    return {layer.name: round(densities[layer.name] * layer.numel) for layer in layers}


def _scaled(layers: Sequence[Layer], raw: np.ndarray, density: float) -> dict[str, float]:
    """Densities eps * raw, capped at 1, whose weighted mean is `density` (PROTOCOL's eps)."""
    numel = np.array([float(layer.numel) for layer in layers])
    dense = np.zeros(len(layers), dtype=bool)
    eps = 0.0
    while not dense.all():
        budget = density * numel[~dense].sum() - (1 - density) * numel[dense].sum()
        eps = budget / (raw * numel)[~dense].sum()
        largest = raw[~dense].max()
        if largest * eps <= 1:
            break
        dense |= raw == largest  # layers tied at the largest become dense together
    found = np.where(dense, 1.0, np.minimum(raw * eps, 1.0))
    return {layer.name: float(value) for layer, value in zip(layers, found, strict=True)}


def _custom(layers: Sequence[Layer], densities: Mapping[str, float]) -> dict[str, float]:
    names = {layer.name for layer in layers}
    if names != set(densities):
        odd = ", ".join(sorted(names ^ set(densities)))
        raise ValueError(f"the map of densities and the model's layers differ in: {odd}")
    for name, value in densities.items():
        if not 0 <= value <= 1:
            raise ValueError(f"density={value} of {name} must lie in [0, 1]")
    return {layer.name: float(densities[layer.name]) for layer in layers}
