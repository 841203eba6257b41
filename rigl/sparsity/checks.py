"""Checks of models, optimisers and saved states for `rigl.Sparsifier`."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Iterable, Mapping
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from rigl.sparsity.layers import Maskable, parameters, parametrised, tied

NEEDED = ("method", "seed", "step_count", "update_count", "last_update", "masks")
# What decides which masks there are, and what only decides when they move.
SAME = ("preset", "density", "distribution", "flops")
SCHEDULE = ("total_steps", "alpha", "decay", "delta_t", "t_start", "t_end")

# Whoever has hooks on an optimiser, with the weights that it masks. Not kept by weight: tensors with a weak
# reference cannot move between devices by being swapped.
_attached: weakref.WeakSet[Any] = weakref.WeakSet()


def claim(owner: object) -> None:
    """Remember that `owner` masks its weights, until it is gone or `release` is called."""
    _attached.add(owner)


def release(owner: object) -> None:
    _attached.discard(owner)


def owner_of(weights: Mapping[str, Tensor]) -> tuple[Any, str]:
    """Whoever masks one of the weights already, or None, and that weight's name."""

    def find() -> tuple[Any, str]:
        names = {id(weight): name for name, weight in weights.items()}
        for owner in list(_attached):
            for weight in owner._weights.values():
                if id(weight) in names:
                    return owner, names[id(weight)]
        return None, ""

    if find()[0] is not None:
        gc.collect()  # an optimiser and its hooks refer to each other: perhaps nobody else does any more
    return find()


def check_layout(found: Iterable[Maskable], model: nn.Module) -> None:
    """Raise ValueError where weights are spread over processes: their masks would be drawn and moved by
    shards."""
    for name, module, weight in (row[:3] for row in found):
        if hasattr(weight, "placements"):
            raise ValueError(
                f"{name} is a DTensor (FSDP2 or tensor parallel), whose masks would differ by process: "
                "use DistributedDataParallel or ZeroRedundancyOptimizer"
            )
        dims = {nn.Linear: 2, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}
        dim = next((dim for kind, dim in dims.items() if isinstance(module, kind)), weight.dim())
        if weight.dim() != dim:
            raise ValueError(
                f"{name} has shape {tuple(weight.shape)}, not a {type(module).__name__}'s {dim} dimensions: "
                "flat shards as of FSDP cannot be masked, use DistributedDataParallel"
            )
    for module in model.modules():
        if any(kind.__name__ == "FullyShardedDataParallel" for kind in type(module).__mro__):
            raise ValueError(
                "FullyShardedDataParallel keeps weights as flat shards, which cannot be masked: "
                "use DistributedDataParallel or ZeroRedundancyOptimizer"
            )


def left_dense(
    model: nn.Module, weights: Mapping[str, Tensor], trained: set[int]
) -> dict[str, tuple[tuple[int, ...], float]]:
    """Shape, and share of all the model's weights, of each trained matrix that is not masked."""
    total = sum(parameter.numel() for parameter in model.parameters())
    masked = {id(weight) for weight in weights.values()}
    return {
        name: (tuple(parameter.shape), parameter.numel() / total)
        for name, parameter in parameters(model, aliases=False).items()
        if parameter.ndim > 1 and id(parameter) in trained and id(parameter) not in masked
    }


def warn_of_what_stays_dense(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    left: Mapping[str, tuple[tuple[int, ...], float]],
    by_default: bool,
) -> None:
    """Warn of what a user may believe to be masked; `by_default` where they chose no layers."""
    for name, embedding in tied(model) if by_default else ():
        warnings.warn(
            f"{name} stays dense, for it is the embedding {embedding} too: name it in include= to mask both, "
            "or in exclude= to leave it",
            stacklevel=4,
        )
    for name in parametrised(model):
        warnings.warn(f"{name} stays dense: its weight is computed from other parameters", stacklevel=4)
    size = sum(weight.numel() for weight in weights.values())
    dense = sum(prod(shape) for shape, _ in left.values())
    if by_default and dense > size:
        most = max(left, key=lambda name: left[name][1])
        warnings.warn(
            f"only {size / (size + dense):.0%} of the weights in matrices are masked; the largest left dense "
            f"is {most}. summary() lists all; name layers in include= or exclude= where this is meant",
            stacklevel=4,
        )


def gradients_finite(weights: Iterable[Tensor]) -> bool:
    """Whether all existing gradients are finite. Reads the device once."""
    found = []
    for weight in weights:
        if weight.grad is not None:
            values = torch.view_as_real(weight.grad) if weight.grad.is_complex() else weight.grad
            found.append(torch.stack(values.aminmax()).isfinite().all())
    return not found or bool(torch.stack([each.to(found[0].device) for each in found]).all())


def strays(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, int]:
    """How many inactive weights are not 0, layer by layer, where there are some. Reads the device once.

    NaNs are ignored: a run that diverged has them everywhere.
    """
    counts = {
        name: ((weight != 0) & (weight == weight)).logical_and_(masks[name].logical_not()).count_nonzero()
        for name, weight in weights.items()
        if weight.device == masks[name].device and weight.device.type != "meta"
    }
    if not counts:
        return {}
    device = next(iter(counts.values())).device
    found = torch.stack([count.to(device) for count in counts.values()])
    if not bool(found.any()):
        return {}
    return {name: count for name, count in zip(counts, found.tolist(), strict=True) if count}


def checked_state(
    state: Any, method: str, masks: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> list[str]:
    """Where `state` is one that a sparsifier of this method, masks and settings can go on with, what of its
    schedule differs, in words. Raises ValueError where it is not."""
    if missing := [key for key in NEEDED if not isinstance(state, Mapping) or key not in state]:
        raise ValueError(f"the state has no {missing[0]!r}: it should be what state_dict() gave")
    if state["method"] != method:
        raise ValueError(f"the state is of method={state['method']!r}, this is {method!r}")
    for key, least in (("seed", None), ("step_count", 0), ("update_count", 0), ("last_update", -1)):
        number = state[key]
        whole = isinstance(number, Integral) and not isinstance(number, bool)
        if not whole or (least is not None and number < least):
            wanted = "a whole number" + ("" if least is None else f", at least {least}")
            raise ValueError(f"the state's {key}={str(number)[:80]!r} must be {wanted}")
    theirs = state["masks"]
    if not isinstance(theirs, Mapping) or not all(isinstance(mask, Tensor) for mask in theirs.values()):
        raise ValueError("the state's masks must be a dict of tensors by name")
    if {n: m.shape for n, m in theirs.items()} != {n: m.shape for n, m in masks.items()}:
        raise ValueError("the state's masks do not have this model's names and shapes")
    saved = state.get("settings", {})
    for key in SAME:
        if key in saved and key in settings and saved[key] != settings[key]:
            raise ValueError(f"the state was saved with {key}={saved[key]!r}, not {key}={settings[key]!r}")
    active = state.get("active", {})
    for name, mask in theirs.items():
        if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(f"the state's mask of {name} has values other than 0 and 1")
        count = int(mask.count_nonzero())
        if count != active.get(name, count):
            raise ValueError(f"the state's mask of {name} has {count} active weights, not {active[name]}")
        if not count and bool(masks[name].any()):
            raise ValueError(f"the state's mask of {name} has no active weight")
    return [
        f"{key}={settings[key]!r}, it was {saved[key]!r}"
        for key in SCHEDULE
        if key in saved and key in settings and saved[key] != settings[key]
    ]
