"""Schedules: plain functions of the step, which counts from 0."""

from __future__ import annotations

from math import cos, pi

DECAYS = ("cosine", "constant", "linear", "inverse-power")


def drop_fraction(step: int, t_end: float, alpha: float = 0.3, decay: str = "cosine") -> float:
    """Share of a layer's active weights that an update at `step` drops; 0 from `t_end` (steps) on.

    ``"cosine"`` is the report's equation 1, alpha / 2 * (1 + cos(pi * step / t_end)); ``"constant"``
    stays at alpha, ``"linear"`` falls from alpha to 0, and ``"inverse-power"`` is
    alpha * (1 - step / t_end)^3 (Evci et al. 2020, appendix G). Raises ValueError for an unknown decay.
    """
    if decay not in DECAYS:
        raise ValueError(f"decay={decay!r} is unknown: choose one of {', '.join(DECAYS)}")
    if step >= t_end:
        return 0.0
    if decay == "constant":
        return alpha
    if decay in ("linear", "inverse-power"):
        return float(alpha * (1 - step / t_end) ** (1 if decay == "linear" else 3))
    return alpha / 2 * (1 + cos(pi * step / t_end))


def pruning_density(step: int, density: float, t_start: float, t_end: float, start: float = 1.0) -> float:
    """Active weights over all weights that pruning leaves at `step` (Zhu and Gupta 2018, equation 1).

    `start` up to `t_start`, `density` from `t_end` on (both in steps), and between them the cubic
    start - (start - density) * (1 - (1 - (step - t_start) / (t_end - t_start))^3).
    """
    if step >= t_end:
        return density
    if step <= t_start:
        return start
    left = 1 - (step - t_start) / (t_end - t_start)
    return start - (start - density) * (1 - left**3)


def learning_rate(step: int, base: float, drop_every: int, factor: float = 0.2, warmup: int = 0) -> float:
    """`base`, times `factor` after every `drop_every` steps; over the first `warmup` steps a straight
    line that reaches it in the last of them."""
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return base * ramp * factor ** (step // drop_every)
