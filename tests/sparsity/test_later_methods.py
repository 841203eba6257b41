"""GraNet, MEST and global RigL, beside what NumPy makes of the same numbers from the papers' definitions."""

from dataclasses import replace
from math import ceil, cos, floor, pi

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rigl.sparsity.methods import METHODS
from rigl.sparsity.sparsifier import Sparsifier
from rigl.sparsity.updates import random_score

STEPS, DELTA_T, ALPHA, T_END = 40, 3, 0.5, 0.75
ROUNDING = {"repro2021": ceil, "google": floor}


def largest(score, among, count):
    """Of the places `among` (bool), the `count` of largest score; of equals the first."""
    places = np.flatnonzero(among)
    order = np.lexsort((places, -score[places]))
    chosen = np.zeros_like(among)
    chosen[places[order[:count]]] = True
    return chosen


def largest_of_all(scores, masks, count):
    """The `count` of largest score over all layers, at least one a layer."""
    first = [largest(score, mask, 1) for score, mask in zip(scores, masks, strict=True)]
    sizes = np.cumsum([mask.size for mask in masks])[:-1]
    sure, all_masks = np.concatenate(first), np.concatenate(masks)
    more = largest(np.concatenate(scores), all_masks & ~sure, count - int(sure.sum()))
    return np.split(sure | more, sizes)


def drop_count(fraction, active, rounding):
    return rounding(round(fraction * active, 9))


def survivors(worth, mask, count):
    """`mask` without the `count` of smallest worth; of equals the first go."""
    places = np.flatnonzero(mask)
    order = np.lexsort((places, worth[places]))
    kept = mask.copy()
    kept[places[order[:count]]] = False
    return kept


def rigl(weights, masks, gradients, fraction, rounding):
    """Evci et al. 2020: a share of each layer goes, as many of the largest gradients come."""
    found = []
    for weight, mask, gradient in zip(weights, masks, gradients, strict=True):
        count = drop_count(fraction, int(mask.sum()), rounding)
        kept = survivors(np.abs(weight), mask, count)
        found.append(kept | largest(np.abs(gradient), ~kept, count))
    return found


def global_rigl(weights, masks, gradients, fraction, rounding):
    """The smallest of all layers go; each layer regrows as many as it lost."""
    active = sum(int(mask.sum()) for mask in masks)
    left = max(active - drop_count(fraction, active, rounding), len(masks))
    # Among equals the lower position stays, as in pruning.
    kept = largest_of_all([np.abs(weight) for weight in weights], masks, left)
    return [
        stays | largest(np.abs(gradient), ~stays, int(mask.sum() - stays.sum()))
        for stays, mask, gradient in zip(kept, masks, gradients, strict=True)
    ]


def granet(weights, masks, gradients, fraction, rounding, target):
    """Liu et al. 2021: prune all layers together to the schedule's count, then RigL's update of the rest."""
    pruned = largest_of_all([np.abs(weight) for weight in weights], masks, target)
    return rigl(weights, pruned, gradients, fraction, rounding)


def mest(weights, masks, gradients, randoms, fraction, rounding):
    """Yuan et al. 2021: |w| + 0.01 |g| decides what goes, chance what comes."""
    found = []
    for weight, mask, gradient, random in zip(weights, masks, gradients, randoms, strict=True):
        count = drop_count(fraction, int(mask.sum()), rounding)
        kept = survivors(np.abs(weight) + 0.01 * np.abs(gradient), mask, count)
        found.append(kept | largest(random, ~kept, count))
    return found


def granet_target(step, last, size, start, end):
    """Zhu and Gupta's cubic, from `start` at step 0 to `end` at T_END and at the last update."""
    left = max(0.0, 1 - step / (T_END * STEPS))
    return round((end if last else end + (start - end) * left**3) * size)


def network(seed):
    torch.manual_seed(seed)
    flat = (nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), *flat, nn.Linear(96, 7), nn.Linear(7, 3)).double()


def flat(tensors):
    return [tensor.detach().numpy().ravel().copy() for tensor in tensors]


@pytest.mark.parametrize("preset", ROUNDING)
@pytest.mark.parametrize("method", ["rigl-global", "granet", "mest"])
def test_every_update_is_numpys(method, preset):
    model, drawn = network(3), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    told = []
    sparsifier = Sparsifier(
        model,
        optimizer,
        method=method,
        density=0.2,
        total_steps=STEPS,
        alpha=ALPHA,
        delta_t=DELTA_T,
        t_end=T_END,
        preset=preset,
        on_update=lambda step, moved: told.append((step, moved)),
    )
    if method == "mest":

        def score(weight, state, generator):
            drawn[weight] = random_score(weight, state, generator)
            return drawn[weight]

        sparsifier.method = replace(sparsifier.method, grow=score)
    moving = {n: p for n, p in model.named_parameters() if n in sparsifier.masks}
    if preset == "google":  # which leaves the first convolution dense
        assert sparsifier.densities["0.weight"] == 1
        del moving["0.weight"]
    size, updates = sum(p.numel() for p in moving.values()), 0
    for call in range(STEPS):
        generator = torch.Generator().manual_seed(call)
        x = torch.randn(6, 2, 4, 4, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.randint(0, 3, (6,), generator=generator)).backward()
        step, due = sparsifier.step_count, sparsifier.update_due
        weights, gradients = flat(moving.values()), flat(p.grad for p in moving.values())
        masks = flat(sparsifier.masks[name] for name in moving)
        optimizer.step()
        if not due:
            assert all(map(np.array_equal, flat(sparsifier.masks[n] for n in moving), masks))
            continue
        updates += 1
        fraction = ALPHA / 2 * (1 + cos(pi * step / (T_END * STEPS))) if step < T_END * STEPS else 0.0
        arguments = weights, masks, gradients, fraction, ROUNDING[preset]
        if method == "mest":
            randoms = flat(drawn[p] for p in moving.values())
            expected = mest(weights, masks, gradients, randoms, fraction, ROUNDING[preset])
        elif method == "granet":
            target = granet_target(step, step >= T_END * STEPS, size, METHODS["granet"].start, 0.2)
            expected = granet(*arguments, target)
        else:
            expected = global_rigl(*arguments)
        found = flat(sparsifier.masks[name] for name in moving)
        for name, new, right, old in zip(moving, found, expected, masks, strict=True):
            assert np.array_equal(new, right)
            dropped, grown = told[-1][1][name]
            assert grown - dropped == int(new.sum()) - int(old.sum())
        assert told[-1][0] == step
    assert updates == sparsifier.update_count == len(told) > 8
    density = sum(int(sparsifier.masks[n].sum()) for n in moving) / size
    assert density == pytest.approx(0.2, abs=len(moving) / size)


def test_granet_starts_at_half_and_falls_to_its_density():
    model = network(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = Sparsifier(
        model, optimizer, method="granet", distribution="uniform", density=0.1, total_steps=STEPS, delta_t=3
    )
    seen = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 4, 4, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
        masked = [mask for name, mask in sparsifier.masks.items() if name != "0.weight"]
        seen.append(sum(int(mask.sum()) for mask in masked) / sum(mask.numel() for mask in masked))
    assert seen[0] == pytest.approx(0.5, abs=0.01)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(0.1, abs=0.01)


def test_granet_that_starts_above_its_own_start_only_moves():
    model = network(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"method": "granet", "distribution": "erk", "density": 0.8, "total_steps": 40, "delta_t": 3}
    sparsifier = Sparsifier(model, optimizer, **options)
    total = sum(mask.numel() for mask in sparsifier.masks.values())
    assert sum(int(mask.sum()) for mask in sparsifier.masks.values()) == pytest.approx(0.8 * total, abs=2)


def test_a_decay_by_name():
    model = network(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told = []
    Sparsifier(
        model,
        optimizer,
        method="rigl",
        density=0.5,
        total_steps=20,
        delta_t=2,
        decay="constant",
        on_update=lambda step, moved: told.append(moved["4.weight"]),
    )
    for _ in range(20):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 4, 4, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    assert len(set(told)) == 1
    assert told[0].dropped == told[0].grown > 0
    with pytest.raises(ValueError, match="decay='cosin' is unknown: choose one of cosine"):
        Sparsifier(model, optimizer, method="rigl", density=0.5, total_steps=20, decay="cosin")
