"""An epoch's plan, and what it does to images."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from rigl.training.augmentation import Normaliser, apply, draw, parts
from rigl.training.data import Images

KINDS = ("none", "flip", "crop-flip", "resized-crop-flip")


def numbered(count=6, size=8, channels=3):
    """Images whose every pixel has a value of its own."""
    x = torch.arange(count * size * size * channels).remainder(251).to(torch.uint8)
    return Images(x.view(count, size, size, channels), torch.arange(count))


def batches(images, seed=0, size=4, augmentation="none", mean=(0.0,) * 3, std=(1 / 255,) * 3):
    normalise = Normaliser.of(mean, std, torch.device("cpu"))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    plan = draw(images.x, size, augmentation, generator)
    return [(normalise(apply(images.x, part)), images.y[part.rows]) for part in parts(plan, size)]


def drawn(images, **options):
    found = batches(images, **options)
    return torch.cat([x for x, _ in found]), torch.cat([y for _, y in found])


def plain(images):
    return images.x.permute(0, 3, 1, 2).float()


def test_in_order_as_they_are():
    images = numbered()
    x, y = drawn(images, seed=None)
    torch.testing.assert_close(x, plain(images), rtol=0, atol=1e-4)
    assert y.tolist() == list(range(6))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_holds_every_image_once_in_an_order_from_the_seed():
    images = numbered()
    _, y = drawn(images, seed=1)
    assert sorted(y.tolist()) == list(range(6))
    assert y.tolist() == drawn(images, seed=1)[1].tolist()
    assert any(drawn(images, seed=s)[1].tolist() != y.tolist() for s in range(2, 6))


def test_flip_mirrors_about_half():
    images = numbered(count=200)
    x, y = drawn(images, augmentation="flip", size=64)
    original = plain(images)[y]
    flipped = [bool(torch.allclose(a, b.flip(2), atol=1e-3)) for a, b in zip(x, original, strict=True)]
    kept = [bool(torch.allclose(a, b, atol=1e-3)) for a, b in zip(x, original, strict=True)]
    assert all(f != k for f, k in zip(flipped, kept, strict=True))
    assert 70 < sum(flipped) < 130


def test_crops_are_windows_of_the_reflected_image():
    images = numbered(count=200, size=16)
    x, y = drawn(images, augmentation="crop-flip", size=64)
    seen = set()
    for got, image in zip(x.numpy(), plain(images)[y].numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="reflect")
        windows = sliding_window_view(padded, (16, 16), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
        both = np.stack([windows, windows[..., ::-1]], axis=2)  # down, along, mirrored
        fitting = np.argwhere(np.isclose(both, got, atol=1e-3).all((3, 4, 5)))
        assert len(fitting) == 1
        seen.add(tuple(map(int, fitting[0])))
    assert {dy for dy, _, _ in seen} == {dx for _, dx, _ in seen} == set(range(9))


def test_normalisation():
    x, _ = drawn(numbered(), seed=None, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    mean, std = torch.tensor((0.1, 0.2, 0.3)).view(3, 1, 1), torch.tensor((0.5, 0.25, 2.0)).view(3, 1, 1)
    torch.testing.assert_close(x, (plain(numbered()) / 255 - mean) / std)


def test_batches_are_augmented_and_seeded():
    images = Images(torch.randint(0, 256, (50, 32, 32, 3), dtype=torch.uint8), torch.arange(50))

    def all_of(seed):
        return batches(images, seed, 20, "resized-crop-flip")

    first, again, other = all_of(1), all_of(1), all_of(2)
    assert [tuple(x.shape) for x, _ in first] == [(20, 3, 32, 32), (20, 3, 32, 32), (10, 3, 32, 32)]
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert sorted(torch.cat([y for _, y in first]).tolist()) == list(range(50))


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_at_a_time_or_in_one_slice(kind):
    """A recorded step picks by a tensor of places what an eager one takes as a slice."""
    images = numbered(count=50, size=16)
    plan = draw(images.x, 20, kind, torch.Generator().manual_seed(0))
    assert len(plan) == 50
    for begin in (0, 20, 40):
        places = torch.arange(begin, min(begin + 20, 50))
        sliced = apply(images.x, plan.at(slice(begin, begin + 20)))
        assert torch.equal(sliced, apply(images.x, plan.at(places)))
        assert sliced.shape == (len(places), 16, 16, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_taken_over_in_place(kind):
    images = numbered(count=30, size=16)
    first, second = (draw(images.x, 8, kind, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    before = {name: values.data_ptr() for name, values in first.tensors().items()}
    assert not torch.equal(apply(images.x, first), apply(images.x, second))
    first.copy_(second)
    assert torch.equal(apply(images.x, first), apply(images.x, second))
    assert before == {name: values.data_ptr() for name, values in first.tensors().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_processes_share_a_batch(kind):
    images = numbered(count=7, size=16)
    plan = draw(images.x, 7, kind, torch.Generator().manual_seed(0))
    whole = apply(images.x, plan)
    for rank in (0, 1):
        part = plan.at(slice(rank, None, 2))
        assert torch.equal(apply(images.x, part), whole[rank::2])
