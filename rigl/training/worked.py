"""``python -m rigl.training.worked``: a small matrix updated by several methods, as JSON in ``results``.

The book shows it step by step and is built without torch, so the updates are stored in advance; a test checks
that they are up to date.
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
    """A random matrix with its mask, gradient and momentum, and one update by each of `METHODS`.

    Numbers are rounded to two decimals, so that readers can check them. For each method, `methods` has the
    `score` for growing and, per drop fraction, the positions `kept` and the new `mask`, as rows of 0 and 1.
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
