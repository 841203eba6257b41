"""Dropout that can draw from a generator of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """torch's, which draws from the one global generator of its device; from `generator` where that is set,
    so that several runs in one process do not draw each other's numbers."""

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.generator is None or not self.training or self.p == 0:
            return super().forward(input)
        keep = torch.empty_like(input).bernoulli_(1 - self.p, generator=self.generator)
        return input * keep.div_(1 - self.p)


def draw_from(model: nn.Module, generator: torch.Generator | None) -> None:
    """Let all dropout in `model` draw from `generator`; None stands for the global one."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator
