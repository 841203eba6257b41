"""Random resized crops against torchvision's own."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from rigl.training.augmentation import random_boxes, resize


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_boxes_lie_inside_and_are_drawn_as_torchvision_draws_them():
    top, left, high, wide = random_boxes(5_000, 32, 32, generator())
    assert bool(((top >= 0) & (left >= 0) & (high >= 1) & (wide >= 1)).all())
    assert bool(((top + high <= 32) & (left + wide <= 32)).all())
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    torch.manual_seed(1)
    theirs = [v2.RandomResizedCrop(32).make_params([image]) for _ in range(5_000)]
    area = torch.tensor([p["height"] * p["width"] for p in theirs]).double()
    mine = (high * wide).double()
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert float(mine.quantile(share)) == pytest.approx(float(area.quantile(share)), rel=0.05)
    tops = torch.tensor([p["top"] for p in theirs]).double()
    assert float(top.double().mean()) == pytest.approx(float(tops.mean()), rel=0.03)


def test_resize_is_torchvisions():
    images = torch.randint(0, 256, (200, 32, 32, 3), dtype=torch.uint8, generator=generator())
    boxes = random_boxes(200, 32, 32, generator(3))
    mine = resize(images, boxes)
    for image, box, out in zip(images, boxes.T.tolist(), mine, strict=True):
        theirs = tv.resized_crop(image.permute(2, 0, 1), *box, [32, 32], antialias=True)
        assert int((theirs.permute(1, 2, 0).int() - out.int()).abs().max()) <= 1


def test_a_box_of_the_whole_image_changes_nothing():
    images = torch.randint(0, 256, (4, 8, 6, 1), dtype=torch.uint8, generator=generator())
    boxes = torch.tensor([[0], [0], [8], [6]]).expand(4, 4)
    assert torch.equal(resize(images, boxes), images)
