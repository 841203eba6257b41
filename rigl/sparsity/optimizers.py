"""What masking has to know about optimisers: which of them take part, and what their state means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rigl.sparsity.methods import Method
from rigl.sparsity.updates import momentum_score, score_of

# State that is a copy of the weights: schedule-free's sequence z, ASGD's average, Lookahead's slow weights.
WEIGHT_COPIES = ("z", "ax", "slow_buffer", "lookahead_slow_buff")
# Where a weight, its gradient and its state are 0 they stay 0. Not so under Adamax, whose norm begins at eps.
KEEP_ZEROS = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Adadelta,
)


def unwrapped(optimizer: Any) -> Optimizer:
    """The optimiser whose ``step`` calls the hooks, which accelerate wraps in another.

    Raises ValueError for what is no torch optimiser, and for one that steps another by itself, as SAM and
    Lookahead do: their own hooks may never be called.
    """
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            raise ValueError(
                f"optimizer={type(optimizer).__name__}: a torch optimizer with step hooks is needed, and an "
                "optimizer that changes weights around another one's step cannot be masked"
            )
        return unwrapped(inner)
    if not _shards_state(optimizer):
        for name, value in vars(optimizer).items():
            if isinstance(value, Optimizer):
                raise ValueError(
                    f"{type(optimizer).__name__} steps another optimizer: attach to its {name} instead"
                )
    return optimizer


def check_optimizer(optimizer: Optimizer, method: Method) -> None:
    """Raise ValueError for an optimiser that `method` does not support, or whose state cannot be masked."""
    by_momentum = momentum_score in map(score_of, method.scores)
    name = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("LBFGS takes several gradients a step: choose an optimizer that takes one")
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ValueError("SparseAdam takes sparse gradients, those of embeddings: choose Adam")
    if by_momentum and optimizer.defaults.get("momentum", 1) == 0:
        raise ValueError(f"{method.name} goes by momentum: momentum=0 should be above 0, such as 0.9")
    if _shards_state(optimizer):
        if by_momentum:
            raise ValueError(f"{method.name} goes by momentum, and {name} keeps it on one process only")
        if getattr(optimizer, "_overlap_with_ddp", False):
            raise ValueError(f"{name} with overlap_with_ddp steps during the backward pass: leave it out")
    reads_state = by_momentum or not method.dense_state
    bits = getattr(getattr(optimizer, "args", None), "optim_bits", 32)  # as bitsandbytes has it
    if reads_state and (bits < 32 or type(optimizer).__module__.startswith("torchao.")):
        raise ValueError(f"{name} keeps its state in less than 16 bits, which cannot be masked")


def check_state(optimizer: Optimizer, weights: Iterable[Tensor]) -> None:
    """Raise ValueError where the state of a weight is there in a form that cannot be masked."""
    for weight in weights:
        for key, value in state_of(optimizer, weight).items():
            if isinstance(value, Tensor) and value.dim() and value.shape == weight.shape:
                number = value.is_floating_point() or value.is_complex()
                if not number or type(value) not in (Tensor, nn.Parameter):
                    kind = type(value).__name__ if number else value.dtype
                    raise ValueError(
                        f"{type(optimizer).__name__} keeps {key} as {kind}, which cannot be masked"
                    )


def _shards_state(optimizer: Optimizer) -> bool:
    """Whether each process keeps the state of some of the weights, as ZeroRedundancyOptimizer does."""
    return type(optimizer).__name__ == "ZeroRedundancyOptimizer"


def state_of(optimizer: Optimizer, weight: Tensor) -> Mapping[str, Any]:
    """The optimiser's state of a weight; empty where there is none yet, or another process keeps it."""
    state = vars(optimizer)["optim"].state if _shards_state(optimizer) else optimizer.state
    found: Mapping[str, Any] = state.get(weight, {})
    return found


def tensors_of(optimizer: Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """The optimiser's tensors of the weight's shape: momentum, Adam's moments, ..."""
    return {key: value for key, value in state_of(optimizer, weight).items() if like(value, weight)}


def like(value: Any, weight: Tensor) -> bool:
    """Whether a value of an optimiser's state has a number for each weight."""
    if not isinstance(value, Tensor) or value.shape != weight.shape:
        return False
    return value.is_floating_point() or value.is_complex()


def initial_values(optimizer: Optimizer, weight: Tensor) -> dict[str, float]:
    """What the state of a weight begins with, where that is not 0, by key: so it does for a grown weight."""
    keys = {
        torch.optim.Adagrad: ("sum", "initial_accumulator_value"),
        torch.optim.Rprop: ("step_size", "lr"),
    }
    for kind, (key, option) in keys.items():
        if isinstance(optimizer, kind):
            for group in optimizer.param_groups:
                if any(weight is each for each in group["params"]):
                    return {key: float(group[option])}
    return {}


def keeps_zeros(optimizer: Optimizer, weights: Iterable[Tensor]) -> bool:
    """Whether a step leaves 0 what is 0 in weights, their gradients and their state."""
    return type(optimizer) in KEEP_ZEROS and not any(weight.is_complex() for weight in weights)
