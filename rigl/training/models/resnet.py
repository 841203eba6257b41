"""ResNet-50 for 32x32 images: torchvision's own, with a 3x3 stem and without the first pooling."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet


class _NarrowResNet(ResNet):  # type: ignore[misc]  # torchvision is not typed
    """torchvision's ResNet fixes its widths in the constructor: scale them as each stage is built."""

    def __init__(self, width_factor: float, **options: Any) -> None:
        self._factor = width_factor
        super().__init__(**options)

    def _make_layer(self, block: type[Bottleneck], planes: int, blocks: int, **options: Any) -> Any:
        if not hasattr(self, "layer1"):
            self.inplanes: int = self._scaled(64)
        return super()._make_layer(block, self._scaled(planes), blocks, **options)

    def _scaled(self, width: int) -> int:
        return max(1, int(width * self._factor))


def resnet50(num_classes: int, width_factor: float = 1.0, channels: int = 3) -> nn.Module:
    """The report's ResNet-50 (supplement, section 1): a 3x3 convolution of stride 1 as the stem, the last
    normalisation of every block initialised to 0, and all widths multiplied by `width_factor`."""
    model = _NarrowResNet(
        width_factor, block=Bottleneck, layers=[3, 4, 6, 3], num_classes=num_classes, zero_init_residual=True
    )
    stem = model._scaled(64)
    model.conv1 = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.bn1 = nn.BatchNorm2d(stem)
    model.maxpool = nn.Identity()
    model.fc = nn.Linear(model._scaled(512) * Bottleneck.expansion, num_classes)
    return model
