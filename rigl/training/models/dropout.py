"""Dropout with a generator of its own and fast random numbers on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 2**16


class Dropout(nn.Dropout):
    """torch's dropout, which draws from `generator` if that is set, else from the device's global generator.
    Concurrent runs of one process need generators of their own to be reproducible."""

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.generator is None or not self.training or self.p == 0:
            return super().forward(input)
        if input.device.type == "cpu":
            keep, kept = random_keep(input, self.p, self.generator)
        else:
            kept = 1 - self.p
            keep = torch.empty_like(input).bernoulli_(kept, generator=self.generator)
        if input.dtype.itemsize < 4:
            return (input * keep).mul_(1 / kept)  # a mask would hold the scale with too few bits
        return input * keep.mul_(1 / kept)  # one product fewer in each direction


def random_keep(input: Tensor, p: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """A mask of ones (kept) and zeros (dropped) in the dtype of `input`, and the probability of a one: 1 -
    `p`, rounded to sixteen bits.

    On a CPU, torch's bernoulli_ draws one number per value on a single thread. Here each 64-bit number serves
    four values, and `generator` draws but the seed of numpy's faster one. The mask depends on the shape of
    `input`, but not on its memory format.
    """
    dropped = min(max(round(p * LEVELS), 0), LEVELS - 1)
    # Images are channels last: drawing in that order needs no transposition.
    last = input.dim() == 4
    shape = input.permute(0, 2, 3, 1).shape if last else input.shape
    seed = torch.empty(1, dtype=torch.int64).random_(generator=generator).numpy()
    words = np.random.PCG64(seed).random_raw(-(-input.numel() // 4))
    bits = torch.from_numpy(words.view(np.int16))[: input.numel()].view(shape)
    keep = (bits >= dropped - LEVELS // 2).to(input.dtype)
    return keep.permute(0, 3, 1, 2) if last else keep, 1 - dropped / LEVELS


def draw_from(model: nn.Module, generator: torch.Generator | None) -> None:
    """Let all dropout layers of `model` draw from `generator`; None is the global one."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator
