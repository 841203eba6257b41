"""Data augmentation and normalisation, on batches of images on their device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import log

import torch
from torch import Tensor


@dataclass
class Plan:
    """An epoch's order of images and its augmentation, drawn all at once, so that a batch is a pure function
    of its position.

    rows      int64 (N,): indices into the split
    shifts    int64 (2, N): vertical and horizontal shift in pixels, with reflection padding
    mirrored  bool (N,)
    boxes     int64 (4, N): top, left, height and width of the crop that is resized to the whole image
    """

    rows: Tensor
    shifts: Tensor | None = None
    mirrored: Tensor | None = None
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: slice | Tensor) -> Plan:
        """The part of the plan at `places`."""
        return Plan(**{name: values[..., places] for name, values in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def copy_(self, other: Plan) -> None:
        """Copy another plan of the same kind and length, in place."""
        for name, values in self.tensors().items():
            values.copy_(other.tensors()[name])


def draw(
    images: Tensor, size: int, augmentation: str = "none", generator: torch.Generator | None = None
) -> Plan:
    """Draw a plan for images uint8 (N, H, W, C) in batches of `size`. Without a `generator`, images keep
    their order and are not augmented.

    ``"flip"`` mirrors images with probability 0.5, ``"crop-flip"`` also shifts them by up to 4 pixels in each
    direction, ``"resized-crop-flip"`` resizes a random crop instead (the report's CIFAR-100 code). The
    generator must be on the images' device.
    """
    (count, height, width), device = images.shape[:3], images.device
    if generator is None:
        return Plan(torch.arange(count, device=device))
    rows = torch.randperm(count, generator=generator, device=device)
    if augmentation == "none":
        return Plan(rows)
    shifts, mirrored, boxes = [], [], []
    for part in torch.split(rows, size):
        if augmentation == "crop-flip":
            shifts.append(torch.randint(-4, 5, (2, len(part), 1), generator=generator, device=device))
        mirrored.append(torch.rand(len(part), 1, generator=generator, device=device) < 0.5)
        if augmentation == "resized-crop-flip":
            boxes.append(random_boxes(len(part), height, width, generator))
    return Plan(
        rows,
        torch.cat(shifts, 1).squeeze(2) if shifts else None,
        torch.cat(mirrored).squeeze(1),
        torch.cat(boxes, 1) if boxes else None,
    )


def apply(images: Tensor, plan: Plan) -> Tensor:
    """The images of `plan`, augmented. Shifts and flips are a single gather of pixels, without a padded
    copy."""
    rows = plan.rows
    if plan.mirrored is None:
        return images[rows]
    (count, height, width), device = (len(rows), *images.shape[1:3]), images.device
    down = torch.arange(height, device=device).expand(count, height)
    along = torch.arange(width, device=device).expand(count, width)
    if plan.shifts is not None:
        down = _reflected(down + plan.shifts[0, :, None], height)
        along = _reflected(along + plan.shifts[1, :, None], width)
    along = torch.where(plan.mirrored[:, None], along.flip(1), along)
    pixels = (rows[:, None, None] * height + down[:, :, None]) * width + along[:, None, :]
    found = images.view(-1, images.shape[3])[pixels]
    return found if plan.boxes is None else resize(found, plan.boxes)


def parts(plan: Plan, size: int) -> Iterator[Plan]:
    """Split `plan` into batches of `size`; the last may be smaller."""
    for begin in range(0, len(plan), size):
        yield plan.at(slice(begin, begin + size))


@dataclass
class Normaliser:
    """Normalises pixels to float32 with mean 0 and standard deviation 1 per channel."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> Normaliser:
        """`mean` and `std` are of pixels in [0, 1], one per channel."""
        scale, shift = 1 / 255 / torch.tensor(std), torch.tensor(mean) / torch.tensor(std)
        return cls(scale.to(device), shift.to(device))

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 (B, H, W, C) to float32 (B, C, H, W), channels last in memory."""
        return (x * self.scale - self.shift).permute(0, 3, 1, 2)


def _reflected(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index < size, index, 2 * (size - 1) - index)


AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw crops (top, left, height, width), int64 of shape (4, count), as torchvision's RandomResizedCrop
    does: uniform area and log-uniform aspect ratio, the first of ten tries that fits into the image, else the
    whole image (whose aspect ratio is allowed if it is square)."""

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
    """Resize each image's box to the whole image, bilinearly; uint8 (count, height, width, channels)."""
    top, left, high, wide = boxes
    values = _stretched(images.float(), top, high)
    values = _stretched(values.transpose(1, 2), left, wide).transpose(1, 2)
    return values.round().to(torch.uint8)


def _stretched(values: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Stretch `length` entries from `start` on to the whole of dimension 1."""
    count, size = values.shape[:2]
    each = torch.arange(count, device=values.device)[:, None]
    place = (torch.arange(size, device=values.device) + 0.5) * (length[:, None] / size) - 0.5
    place = place.clamp(min=0).minimum(length[:, None] - 1)
    below = place.long()
    above = (below + 1).minimum(length[:, None] - 1)
    weight = (place - below)[:, :, None, None]
    begin = start[:, None]
    return values[each, begin + below] * (1 - weight) + values[each, begin + above] * weight
