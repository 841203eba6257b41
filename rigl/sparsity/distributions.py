"""How a network's density is shared among its layers (report, section 3, "Mask Initialization")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from rigl.sparsity.flops import check_positions, forward_flops
from rigl.sparsity.shapes import Layer, first_conv

DISTRIBUTIONS = ("uniform", "er", "erk", "erk-flops")


def layer_densities(
    layers: Sequence[Layer],
    density: float | None = None,
    distribution: str | Mapping[str, float | str] = "erk",
    *,
    flops: float | None = None,
    mask_first_conv: bool = True,
    dense: Collection[str] = (),
) -> dict[str, float]:
    """The density of each layer as ``{name: density}``.

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
                     or a map ``{name: density}`` of your own. Its names may be patterns, as by
                     `fnmatch.fnmatchcase`, the first that matches a layer wins, and ``"*"`` may name one of
                     the above for all other layers: ``{"head.weight": 0.5, "*": "erk"}``. These then take
                     what the layers named leave of `density`
    flops            a budget in place of `density`: forward FLOPs over the dense network's, in (0, 1]; the
                     density is chosen to meet it
    mask_first_conv  False keeps the first convolution dense, and out of the target, under the others
                     too (the original authors' code)
    dense            names of layers that stay dense; the others' densities are lowered to compensate

    Except under ``"uniform"`` the whole network's density is `density`: where a layer would need more weights
    than it has, the other layers get the excess.

    Raises ValueError for a density outside (0, 1], both a density and flops, an unknown distribution, no
    layers, a map that leaves a layer out or names none, a budget or dense layers that leave nothing for the
    rest, and, where FLOPs matter, layers described without an input shape.
    """
    if not layers:
        raise ValueError("layers is empty: the model has no convolution or linear layer to mask")
    given: dict[str, float] = {}
    if isinstance(distribution, Mapping):
        given, rest_by = _custom(layers, distribution)
        if rest_by is None:
            return given
        distribution = rest_by
    if density is not None and flops is not None:
        raise ValueError(f"density={density} and flops={flops}: give only one of them")
    if distribution not in DISTRIBUTIONS:
        raise ValueError(
            f"distribution={distribution!r} is unknown: choose one of {', '.join(DISTRIBUTIONS)}"
        )
    stem = first_conv(layers)
    exempt = {stem} - given.keys() if distribution == "uniform" or not mask_first_conv else set()
    counted = [layer for layer in layers if layer.name not in exempt]
    fixed = dict.fromkeys(dense, 1.0) | given
    masked = [layer for layer in counted if layer.name not in fixed]
    everything = {layer.name: fixed.get(layer.name, 1.0) for layer in layers}
    kept = sum(layer.numel * fixed[layer.name] for layer in counted if layer.name in fixed)
    if not masked and given:
        return everything
    if not masked:
        wanted = flops if flops is not None else density if counted else 1.0
        if wanted is not None and wanted < 1:
            raise ValueError(
                f"{wanted:g} is too low: the layers that stay dense cost all, and no other is left"
            )
        return everything
    raw = _raw(masked, distribution)
    names = [layer.name for layer in masked]
    numel = np.array([float(layer.numel) for layer in masked])
    total, free = (sum(layer.numel for layer in some) for some in (counted, masked))

    def at(density: float) -> dict[str, float]:
        rest = density if free == total else (density * total - kept) / free
        if rest <= 0:
            which = "whose density is given" if given else "that stay dense"
            raise ValueError(f"density={density:g} is too low: the layers {which} take {kept / total:.4g}")
        if rest > 1 + 1e-12:
            most = (kept + free) / total
            raise ValueError(
                f"density={density:g} is too high beside the densities given: at most {most:.4g}"
            )
        if distribution == "uniform":
            return everything | dict.fromkeys(names, rest)
        return everything | dict(zip(names, _scaled(numel, raw, rest).tolist(), strict=True))

    if flops is None:
        if density is None or not 0 < density <= 1:
            raise ValueError(f"density={density} must lie in (0, 1]")
        return at(float(density))
    if not 0 < flops <= 1:
        raise ValueError(f"flops={flops} must lie in (0, 1]")
    least = kept / total
    most = least + free / total if given else 1.0
    return _at_cost(layers, at, flops, least, most)


def uniform_stem(layers: Sequence[Layer], distribution: str | Mapping[str, float | str]) -> str | None:
    """The first convolution where it stays dense under ``"uniform"``, also as the rest of a map that does not
    give it a density itself."""
    given: Mapping[str, float] = {}
    if isinstance(distribution, Mapping):
        given, distribution = _custom(layers, distribution)[0], str(distribution.get("*"))
    stem = first_conv(layers)
    return stem if distribution == "uniform" and stem not in given else None


def _at_cost(
    layers: Sequence[Layer], at: Callable[[float], dict[str, float]], flops: float, least: float, most: float
) -> dict[str, float]:
    """The densities ``at(density)`` whose forward FLOPs are `flops` of dense, by bisection between `least`
    and `most`."""
    dense = forward_flops(layers)

    def cost(density: float) -> float:
        return forward_flops(layers, at(density)) / dense

    low, high = least + 1e-9, most
    if cost(low) > flops:
        raise ValueError(
            f"flops={flops:g} is too low: the layers that stay dense cost {cost(low):.4g} of all"
        )
    for _ in range(60):  # halves the interval to below a double's resolution
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) < flops else (low, middle)
    return at(high)


def _raw(layers: Sequence[Layer], distribution: str) -> np.ndarray:
    """Each layer's density up to a common factor."""
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
    """Active weights of each layer, exactly ``round(density * numel)``."""
    return {layer.name: round(densities[layer.name] * layer.numel) for layer in layers}


def _scaled(numel: np.ndarray, raw: np.ndarray, density: float) -> np.ndarray:
    """Densities eps * raw, capped at 1, whose mean weighted by `numel` is `density`; eps is as in Evci et al.
    2020."""
    dense = np.zeros(len(raw), dtype=bool)
    eps = 0.0
    while not dense.all():
        budget = density * numel[~dense].sum() - (1 - density) * numel[dense].sum()
        eps = budget / (raw * numel)[~dense].sum()
        largest = raw[~dense].max()
        if largest * eps <= 1:
            break
        dense |= raw == largest  # layers tied at the largest become dense together
    found: np.ndarray = np.where(dense, 1.0, np.minimum(raw * eps, 1.0))
    return found


def _custom(
    layers: Sequence[Layer], densities: Mapping[str, float | str]
) -> tuple[dict[str, float], str | None]:
    """The densities that a map gives to layers, and the distribution of those that it leaves."""
    by = densities.get("*")
    rest_by = by if isinstance(by, str) else None
    patterns = {name: value for name, value in densities.items() if not (name == "*" and rest_by)}
    for name, value in patterns.items():
        if isinstance(value, str) or not 0 <= value <= 1:
            raise ValueError(f"density={value} of {name} must lie in [0, 1]")
    found: dict[str, float] = {}
    for layer in layers:
        meets = [name for name in patterns if layer.name == name or fnmatchcase(layer.name, name)]
        if meets:
            found[layer.name] = float(patterns[layer.name if layer.name in meets else meets[0]])
    unmet = [
        n for n in patterns if not any(layer.name == n or fnmatchcase(layer.name, n) for layer in layers)
    ]
    left = [] if rest_by else [layer.name for layer in layers if layer.name not in found]
    if left or unmet:
        odd = ", ".join(sorted({*left, *unmet}))
        raise ValueError(f"the map of densities and the model's layers differ in: {odd}")
    return found, rest_by
