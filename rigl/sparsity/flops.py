"""FLOPs of a network: maskable layers only, two FLOPs per multiply-add.

Normalisation, pooling, additions and biases are not counted, and a layer costs its dense count times its
density (the report's supplement, section 2). The functions work on shapes, never on a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rigl.sparsity.methods import Method, method_named
from rigl.sparsity.shapes import Layer


def forward_flops(layers: Sequence[Layer], densities: Mapping[str, float] | None = None) -> float:
    """FLOPs of one sample's forward pass; of the dense network if `densities` ({name: density}) is None; a
    layer that it does not name is dense.

    Raises ValueError if a layer was described without an input shape.
    """
    check_positions(layers)
    return sum(
        2.0 * layer.numel * layer.positions * (1.0 if densities is None else densities.get(layer.name, 1.0))
        for layer in layers
    )


def step_flops(forward: float, dense: float, dense_gradient: bool) -> float:
    """FLOPs of one training step per sample: the forward pass, as much again for the gradient of the
    activations, and the gradient of the active weights or, with `dense_gradient`, of all weights."""
    return 2 * forward + (dense if dense_gradient else forward)


def training_flops(
    method: str | Method,
    dense: float,
    sparse: float,
    *,
    delta_t: int = 100,
    multiplier: float = 1,
    source: float = 0.0,
) -> float:
    """FLOPs of one training step per sample, averaged over all steps (supplement, section 2.2).

    `dense` and `sparse` are the forward FLOPs f_d and f_s; where f_s changes, it is the average over the
    steps. Dense training costs 3 f_d: forward, and backward to weights and to activations. Methods that
    never need dense gradients, such as static and SET, cost 3 f_s; SNFS, which needs them at every step,
    2 f_s + f_d. RigL and its variants need them once in `delta_t` steps:
    (3 delta_t f_s + 2 f_s + f_d) / (delta_t + 1). `rigl.training.run.Ledger` adds up a run's own steps. A
    lottery ticket costs 3 f_s after its pruning run's own cost, `source`. Training `multiplier` times
    longer costs that much more. Raises ValueError for an unknown method.
    """
    rule = method_named(method)
    if rule.name == "dense":
        each = 3 * dense
    elif rule.dense_gradients == "always":
        each = 2 * sparse + dense
    elif rule.dense_gradients == "updates":
        each = (3 * delta_t * sparse + 2 * sparse + dense) / (delta_t + 1)
    else:
        each = 3 * sparse
    if rule.pays_source:
        each += source
    return each * multiplier


def check_positions(layers: Sequence[Layer]) -> None:
    """Raise ValueError, naming it, for a layer that was described without an input shape."""
    unknown = [layer.name for layer in layers if layer.positions < 1]
    if unknown:
        raise ValueError(
            f"no output positions known for {unknown[0]}: describe the model with its input_shape (a layer "
            "that its forward pass does not call has none)"
        )
