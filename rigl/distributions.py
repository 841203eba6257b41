"""How a network's density is shared out among its layers (report, section 3, "Mask Initialization")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rigl.shapes import Layer

DISTRIBUTIONS = ("uniform", "er", "erk")


def layer_densities(
    layers: Sequence[Layer],
    density: float,
    distribution: str | Mapping[str, float] = "erk",
    *,
    mask_first_conv: bool = True,
) -> dict[str, float]:
    """The density of each layer, in (0, 1], as ``{name: density}``.

    layers           the maskable layers, in the model's order
    density          the target, active weights over all weights, in (0, 1]
    distribution     ``"uniform"``: every layer at `density`, except that the first convolution stays
                     dense and is neither compensated for nor counted in the target;
                     ``"er"``: proportional to (Cin + Cout) / (Cin Cout) (Mocanu et al. 2018);
                     ``"erk"``: proportional to the sum of all the weight's dimensions over their
                     product (Evci et al. 2020, section 3); or a map ``{name: density}`` of your own
    mask_first_conv  False keeps the first convolution dense, and out of the target, under ER and
                     ERK too (the original authors' code)

    Under ER and ERK the whole network's density is `density`: what layers that would need more than
    all their weights cannot take is given to the others.

    Raises ValueError for a density outside (0, 1], an unknown distribution, no layers, or a map that
    does not name every layer.
    """
    if not layers:
        raise ValueError("layers is empty: the model has no convolution or linear layer to mask")
    if isinstance(distribution, Mapping):
        return _custom(layers, distribution)
    if not 0 < density <= 1:
        raise ValueError(f"density={density} must lie in (0, 1]")
    if distribution not in DISTRIBUTIONS:
        raise ValueError(
            f"distribution={distribution!r} is unknown: choose one of {', '.join(DISTRIBUTIONS)}"
        )
    first_conv = next((layer.name for layer in layers if layer.kind == "conv"), None)
    exempt = {first_conv} if distribution == "uniform" or not mask_first_conv else set()
    masked = [layer for layer in layers if layer.name not in exempt]
    if distribution == "uniform":
        found = {layer.name: float(density) for layer in masked}
    else:
        raw = np.array([_erdos_renyi(layer.shape, distribution) for layer in masked])
        found = _scaled(masked, raw, density)
    return {layer.name: found.get(layer.name, 1.0) for layer in layers}


def active_counts(layers: Sequence[Layer], densities: Mapping[str, float]) -> dict[str, int]:
    """Active weights of each layer, ``round(density * numel)``: exact, where a coin toss a weight drifts."""
    return {layer.name: round(densities[layer.name] * layer.numel) for layer in layers}


def _erdos_renyi(shape: tuple[int, ...], distribution: str) -> float:
    dims = shape if distribution == "erk" else shape[:2]
    return sum(dims) / float(np.prod(dims))


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
