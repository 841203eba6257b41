"""Crops of random size and shape, a batch at a time on its device: the augmentation of the report's
CIFAR-100 code."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Boxes (top, left, height, width), int64 of shape (4, count), as torchvision's RandomResizedCrop draws
    them: area and aspect ratio (logarithmically) uniform, the first of ten tries that fits into the image,
    else all of it (which a square image's aspect ratio allows)."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device) * (high - low) + low

    area = height * width * uniform(*AREA, TRIES, count)
    ratio = uniform(log(RATIO[0]), log(RATIO[1]), TRIES, count).exp()
    wide, high = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide >= 1) & (wide <= width) & (high >= 1) & (high <= height)
    first = fits.int().argmax(0, keepdim=True)
    found = fits.any(0)
    wide = torch.where(found, wide.gather(0, first)[0], width)
    high = torch.where(found, high.gather(0, first)[0], height)
    top = (uniform(0, 1, count) * (height - high + 1)).long()
    left = (uniform(0, 1, count) * (width - wide + 1)).long()
    return torch.stack((top, left, high, wide))


def resize(images: Tensor, boxes: Tensor) -> Tensor:
    """Each image's box, bilinearly enlarged to the whole image; uint8 (count, height, width, channels)."""
    top, left, high, wide = boxes
    values = _stretched(images.float(), top, high)
    values = _stretched(values.transpose(1, 2), left, wide).transpose(1, 2)
    return values.round().to(torch.uint8)


def _stretched(values: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Along dimension 1, `length` entries from `start` on, drawn out to all of it."""
    count, size = values.shape[:2]
    each = torch.arange(count, device=values.device)[:, None]
    place = (torch.arange(size, device=values.device) + 0.5) * (length[:, None] / size) - 0.5
    place = place.clamp(min=0).minimum(length[:, None] - 1)
    below = place.long()
    above = (below + 1).minimum(length[:, None] - 1)
    weight = (place - below)[:, :, None, None]
    begin = start[:, None]
    return values[each, begin + below] * (1 - weight) + values[each, begin + above] * weight
