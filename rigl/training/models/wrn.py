"""Wide residual networks (Zagoruyko and Komodakis 2016) for small images: WRN-22-2 is the report's."""

from __future__ import annotations

from math import sqrt

from torch import Tensor, nn
from torch.nn import functional as F

from rigl.training.models.dropout import Dropout


class Pointwise(nn.Conv2d):
    """A strided 1x1 convolution without bias.

    On a CPU the input is subsampled first, which is equivalent: with fewer than 8 or 16 input channels, as in
    narrow networks, oneDNN's strided convolution writes past its buffer in the backward pass (oneDNN issue
    6035).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        down, along = self.stride
        return F.conv2d(x[:, :, ::down, ::along], self.weight)


class Block(nn.Module):
    """Pre-activation basic block. If shapes differ, the shortcut is a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.dropout = Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else Pointwise(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x), inplace=True)
        out = self.dropout(F.relu(self.bn2(self.conv1(active)), inplace=True))
        straight = x if self.shortcut is None else self.shortcut(active)
        result: Tensor = self.conv2(out)
        result += straight
        return result


class WideResNet(nn.Module):
    """WRN-D-K: three stages of (depth - 4) / 6 blocks, 16 K, 32 K and 64 K wide, strides 1, 2, 2."""

    def __init__(
        self,
        depth: int,
        widen: int,
        num_classes: int,
        width_factor: float = 1.0,
        channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        stem, *stages = (max(1, int(w * width_factor)) for w in (16, 16 * widen, 32 * widen, 64 * widen))
        self.stem = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        inputs, blocks = stem, []
        for width, stride in zip(stages, (1, 2, 2), strict=True):
            for index in range((depth - 4) // 6):
                blocks.append(Block(inputs, width, stride if index == 0 else 1, dropout))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                area = module.kernel_size[0] * module.kernel_size[1]
                nn.init.normal_(module.weight, 0.0, sqrt(2 / (area * module.out_channels)))
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, num_classes)."""
        x = F.relu(self.bn(self.blocks(self.stem(x))), inplace=True)
        out: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return out
