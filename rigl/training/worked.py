"""``python -m rigl.training.worked``: a mask update of a small matrix by each rule, as JSON in ``results``.

The book shows it step by step and builds without torch, so what the rules do is written down beforehand; a
test fails where it is no longer what they do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rigl.sparsity.masks import random_mask
from rigl.sparsity.methods import method_named, preset_named
from rigl.sparsity.updates import MaskedWeight, drop_and_grow, score_of
from rigl.training.records import write_whole

PATH = Path(__file__).parents[2] / "results" / "worked.json"
SHAPE, ACTIVE = (5, 8), 12
METHODS = ("set", "rigl", "snfs")
FRACTIONS = (0.1, 0.3, 0.5)
PRESET = "repro2021"
SEED = 0


def worked() -> dict[str, Any]:
    """A matrix, its mask, gradient and momentum, drawn at random, and an update by each of `METHODS`.

    Numbers have two decimals, so that a reader can check by eye. `methods` has for each its `score`, and for
    each drop fraction the positions that are `kept` and those active after, `mask`. Positions are rows of
    0 and 1.
    """
    generator = torch.Generator().manual_seed(SEED)
    mask = random_mask(SHAPE, ACTIVE, generator)
    weight, gradient, momentum = (_rounded(torch.randn(SHAPE, generator=generator)) for _ in range(3))
    parameter = nn.Parameter(weight * mask)
    parameter.grad = gradient
    state = {"momentum_buffer": momentum}
    methods: dict[str, Any] = {}
    for name in METHODS:
        method = method_named(name)
        assert method.grow is not None
        score = score_of(method.grow)(parameter, state, torch.Generator().manual_seed(SEED))
        assert score is not None
        updates = {}
        for fraction in FRACTIONS:
            part = MaskedWeight(parameter, mask, ACTIVE, state, torch.Generator().manual_seed(SEED))
            (update,) = drop_and_grow([part], fraction, method, preset_named(PRESET))
            assert update is not None
            updates[f"{fraction:g}"] = {
                "kept": update.survivors.int().tolist(),
                "mask": update.mask.int().tolist(),
            }
        methods[name] = {"score": _numbers(score), "updates": updates}
    return {"weight": _numbers(parameter), "mask": mask.int().tolist(), "methods": methods}


def _rounded(values: Tensor) -> Tensor:
    return values.mul(100).round().div(100)


def _numbers(values: Tensor) -> list[list[float]]:
    return [[round(number, 2) + 0.0 for number in row] for row in values.tolist()]  # 0.0: no minus zero


if __name__ == "__main__":
    write_whole(PATH, (json.dumps(worked()) + "\n").encode())
    print(PATH)
