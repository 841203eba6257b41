"""The networks of the experiments."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from rigl.sparsity.layers import describe
from rigl.sparsity.shapes import Layer
from rigl.training.config import parse_wrn
from rigl.training.models.lenet import LeNet300100
from rigl.training.models.wrn import WideResNet


def build(
    name: str,
    num_classes: int,
    width_factor: float = 1.0,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    dropout: float = 0.0,
) -> nn.Module:
    """Build the model called `name`: ``"lenet-300-100"``, ``"resnet-50"`` or ``"wrn-D-K"``.

    width_factor  factor of every hidden width, which is truncated to an integer (small-dense uses
                  sqrt(density))
    input_shape   (channels, height, width) of an image; convolutional networks accept any size
    dropout       between the two convolutions of a wide residual block; the other models have none

    Weights are initialised from torch's global random state. Raises ValueError for an unknown name or a
    width_factor outside (0, 1].
    """
    if not 0 < width_factor <= 1:
        raise ValueError(f"width_factor={width_factor} must lie in (0, 1]")
    channels, height, width = input_shape
    if name == "lenet-300-100":
        return LeNet300100(channels * height * width, num_classes, width_factor)
    if name == "resnet-50":
        from rigl.training.models.resnet import resnet50  # takes seconds to import

        return resnet50(num_classes, width_factor, channels)
    depth, widen = parse_wrn(name)
    return WideResNet(depth, widen, num_classes, width_factor, channels, dropout)


@cache
def layers_of(
    name: str, num_classes: int, width_factor: float = 1.0, input_shape: tuple[int, int, int] = (3, 32, 32)
) -> tuple[Layer, ...]:
    """The maskable layers of `build`'s model, without allocating weights."""
    with torch.device("meta"):
        return tuple(describe(build(name, num_classes, width_factor, input_shape=input_shape), input_shape))
