"""The sparsifier in loops as people write them."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rigl.sparsity.checks import NEEDED
from rigl.sparsity.distributions import active_counts, layer_densities
from rigl.sparsity.layers import describe
from rigl.sparsity.masks import drop, grow
from rigl.sparsity.methods import METHODS
from rigl.sparsity.schedules import drop_fraction
from rigl.sparsity.sparsifier import Sparsifier

# The methods by what their updates do to the counts
FIXED = ["static", "set", "rigl", "lottery", "rigl-reinit", "rigl-struct", "rigl-global", "mest"]
SHARING = ["snfs", "rigl-sg", "rigl-sm"]
MASKED = [*FIXED, *SHARING, "pruning"]
MOVING = [name for name in MASKED if name not in ("static", "lottery")]
DENSE_STATE = ["snfs", "pruning", "lottery"]

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd-foreach": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=True),
    "sgd-fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, foreach=False),
    "adam-fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adamw-foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Flatten(),
        nn.Linear(8 * 4, 5),
    )


def batch(step, size=8):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(size, 2, 4, 4, generator=generator)
    return x, torch.randint(0, 5, (size,), generator=generator)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def attach(model, optimizer, **options):
    """A sparsifier, with masks of another seed where the method needs some to start from."""
    options = {"method": "rigl", "total_steps": 100, "delta_t": 5, **options}
    if "flops" not in options:
        options.setdefault("density", 0.6 if options["method"] == "rigl-struct" else 0.3)
    if options["method"] in METHODS and METHODS[options["method"]].source:
        twin, static = copy.deepcopy(model), {**options, "method": "static", "seed": 99}
        options.setdefault("masks", attach(twin, sgd(twin), **static).masks)
    return Sparsifier(model, optimizer, **options)


def advance(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def snapshot(sparsifier):
    return {name: mask.clone() for name, mask in sparsifier.masks.items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def counts(sparsifier):
    return {name: int(mask.sum()) for name, mask in sparsifier.masks.items()}


def moments(optimizer, weight):
    """The optimiser's tensors of a weight's shape: momentum, Adam's two moments."""
    return [value for value in optimizer.state[weight].values() if value.shape == weight.shape]


@pytest.mark.parametrize("method", MASKED)
@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize(
    ("make", "layout"),
    list(zip(OPTIMIZERS, [torch.contiguous_format, torch.channels_last] * 3, strict=True)),
    ids=OPTIMIZERS,
)
def test_invariants_hold_at_every_step(make, layout, method, preset):
    model = network().to(memory_format=layout)
    optimizer = OPTIMIZERS[make](model.parameters())
    sparsifier = attach(model, optimizer, method=method, preset=preset, total_steps=20, alpha=0.5)
    weights = {name: model.get_parameter(name) for name in sparsifier.masks}
    assert list(weights) == ["0.weight", "3.weight", "5.weight"]
    zeroes_new_state = method not in DENSE_STATE
    masks_state = zeroes_new_state and (preset == "repro2021" or method == "static")
    places = {name: (weights[name].data_ptr(), mask.data_ptr()) for name, mask in sparsifier.masks.items()}
    first, moves, leaked = counts(sparsifier), 0, 0
    for step in range(20):
        before, due, number = snapshot(sparsifier), sparsifier.update_due, sparsifier.step_count
        values = {name: p.detach().clone() for name, p in model.named_parameters()}
        states = {name: [state.clone() for state in moments(optimizer, w)] for name, w in weights.items()}
        state_places = {name: [s.data_ptr() for s in moments(optimizer, w)] for name, w in weights.items()}
        advance(model, optimizer, 1, step)
        moves += not same(before, sparsifier.masks)
        if not due:
            assert same(before, sparsifier.masks), "masks move at updates only"
        else:  # the update takes the place of the optimiser's step
            for name, value in model.named_parameters():
                assert name in weights or torch.equal(value, values[name])
            for name, weight in weights.items():
                mask, after = sparsifier.masks[name], moments(optimizer, weight)
                new, stays = mask & ~before[name], mask & before[name]
                assert not bool(weight[new].any())
                returned = stays & (weight == 0)  # dropped and regrown, unless it was 0 all along
                assert preset == "repro2021" or not bool(values[name][returned].any())
                assert torch.equal(weight[stays & ~returned], values[name][stays & ~returned])
                for state, old in zip(after, states[name], strict=bool(states[name])):
                    if zeroes_new_state:
                        assert not bool(state[new].any())
                        assert torch.equal(state[stays & ~returned], old[stays & ~returned])
                        assert preset == "google" or not bool(state[returned & (values[name] != 0)].any())
                    else:
                        assert torch.equal(state, old)
        assert sparsifier.step_count == number + (preset == "repro2021" or not due)
        for name, mask in sparsifier.masks.items():
            assert not bool(weights[name][~mask].any())
            leaked += sum(int(state[~mask].count_nonzero()) for state in moments(optimizer, weights[name]))
            if state_places[name]:
                assert [s.data_ptr() for s in moments(optimizer, weights[name])] == state_places[name]
        now = counts(sparsifier)
        assert all(now.values()), "no layer is ever empty"
        if method in FIXED:
            assert now == first
        elif method in SHARING:
            assert sum(now.values()) == sum(first.values())
        if (preset == "google" and method not in ("lottery", "rigl-reinit")) or method == "pruning":
            assert sparsifier.densities["0.weight"] == 1
        assert sparsifier.densities == {name: now[name] / mask.numel() for name, mask in before.items()}
    updates = 3 + (method == "pruning") if method in MOVING else 0
    assert sparsifier.update_count == updates
    assert min(updates, 1) <= moves <= updates
    assert (leaked == 0) == masks_state, "the optimiser's state is masked at every step, or never"
    after = {name: (weights[name].data_ptr(), mask.data_ptr()) for name, mask in sparsifier.masks.items()}
    assert after == places


def test_one_rigl_update_by_hand():
    """Against the rule spelled out: ceil, dropped weights may return, whatever grows starts at zero."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = attach(model, optimizer, alpha=0.5)
    advance(model, optimizer, 4)
    x, y = batch(4)
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    expected = {}
    for name, weight in model.named_parameters():
        if name in sparsifier.masks:
            mask = sparsifier.masks[name]
            count = math.ceil(drop_fraction(4, 75, 0.5) * int(mask.sum()))
            kept = drop(weight, mask, count)
            moved = grow(weight.grad.abs(), kept, count)
            buffer = optimizer.state[weight]["momentum_buffer"]
            expected[name] = moved, weight.detach() * kept, buffer * kept
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert len(expected) == 3
    for name, (mask, value, buffer) in expected.items():
        weight = model.get_parameter(name)
        assert torch.equal(sparsifier.masks[name], mask)
        assert torch.equal(weight, value)
        assert torch.equal(optimizer.state[weight]["momentum_buffer"], buffer)


def test_google_update_by_hand():
    """floor, and a weight that returns in the update keeps its value and its momentum."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = attach(model, optimizer, alpha=0.5, preset="google", density=0.6)
    advance(model, optimizer, 1)
    assert (sparsifier.step_count, sparsifier.update_count) == (0, 1)  # the first update is no step
    advance(model, optimizer, 5, 1)
    assert (sparsifier.step_count, sparsifier.update_due) == (5, True)
    x, y = batch(6)
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    expected, regrown = {}, 0
    for name, weight in model.named_parameters():
        if name in sparsifier.masks:
            mask = sparsifier.masks[name]
            count = math.floor(drop_fraction(5, 75, 0.5) * int(mask.sum()))
            kept = drop(weight, mask, count)
            moved = grow(weight.grad.abs(), kept, count)
            regrown += int((moved & mask & ~kept).sum())
            buffer = optimizer.state[weight]["momentum_buffer"]
            expected[name] = moved, weight.detach() * moved, buffer * ~(moved & ~mask)
    assert regrown
    optimizer.step()
    for name, (mask, value, buffer) in expected.items():
        weight = model.get_parameter(name)
        assert torch.equal(sparsifier.masks[name], mask)
        assert torch.equal(weight, value)
        assert torch.equal(optimizer.state[weight]["momentum_buffer"], buffer)
    assert (sparsifier.step_count, sparsifier.update_count) == (5, 2)


def random_steps(model, optimizer, steps, seed=0, levels=None):
    """Optimiser steps by gradients out of the blue; with `levels` they are full of ties and zeros."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.grad = noise if levels is None else (noise * levels).round() / levels
        optimizer.step()
        yield


@settings(max_examples=60)
@given(
    method=st.sampled_from(MASKED),
    preset=st.sampled_from(["repro2021", "google"]),
    distribution=st.sampled_from(["uniform", "er", "erk"]),
    density=st.floats(0.25, 1),
    alpha=st.floats(0, 1),
    delta_t=st.integers(1, 6),
    levels=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 99),
)
def test_counts_are_exact(method, preset, distribution, density, alpha, delta_t, levels, seed):
    """Each layer's own for methods with fixed budgets, the network's under redistribution, and for
    pruning the schedule's at every update, spelled out here once more."""
    if method == "rigl-struct":
        density = max(density, 0.6)  # its linear layer stays dense
    if (method, preset) == ("pruning", "google"):
        delta_t = max(delta_t, 5)  # more updates, which are no steps, and the run ends before t_end
    if preset == "repro2021":
        delta_t = max(delta_t, 2)  # every step an update is refused
    model = network(seed)
    optimizer = sgd(model)
    options = {"preset": preset, "distribution": distribution, "density": density, "seed": seed}
    sparsifier = attach(
        model, optimizer, method=method, total_steps=40, delta_t=delta_t, alpha=alpha, t_start=0.1, **options
    )
    layers, first = describe(model), counts(sparsifier)
    size = sum(layer.numel for layer in layers[1:])
    if method == "pruning":
        assert all(value == 1 for value in sparsifier.densities.values())
    elif method != "rigl-struct":
        share = layer_densities(layers, density, distribution, mask_first_conv=preset == "repro2021")
        assert first == active_counts(layers, share)
    step, active = 0, size
    for _ in random_steps(model, optimizer, 40, seed, levels):
        now, pruned = counts(sparsifier), sum(counts(sparsifier).values()) - 8 * 2 * 9
        if method in FIXED:
            assert now == first
        elif method in SHARING:
            assert sum(now.values()) == sum(first.values())
        else:
            assert sparsifier.densities["0.weight"] == 1
            assert all(now.values())
            if pruned != active:  # it was an update of step number `step`, and not before t_start
                done = min(1, (step - 4) / (0.75 * 40 - 4))
                assert step >= 4
                assert pruned == round((1 - (1 - density) * (1 - (1 - done) ** 3)) * size)
                active = pruned
        if distribution == "uniform" and method != "pruning":
            assert sparsifier.densities["0.weight"] == 1
        step = sparsifier.step_count
    if method == "pruning":
        assert active == round(density * size)


@pytest.mark.parametrize("distribution", ["uniform", {"5.weight": 0.5, "*": "uniform"}])
@pytest.mark.parametrize("method", [name for name in MOVING if name != "pruning"])
def test_uniform_updates_leave_the_first_convolution_alone(method, distribution):
    """Not only its mask: no weight of it is dropped and comes back at zero."""
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method, distribution=distribution, delta_t=3)
    list(random_steps(model, optimizer, 2))
    before = model[0].weight.detach().clone(), moments(optimizer, model[0].weight)[0].clone()
    assert sparsifier.update_due
    list(random_steps(model, optimizer, 1, seed=1))
    assert sparsifier.update_count == 1
    assert torch.equal(model[0].weight, before[0])
    assert torch.equal(moments(optimizer, model[0].weight)[0], before[1])


def test_channels_are_dropped_and_grown_whole():
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16, 40))
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method="rigl-struct", density=0.4, alpha=0.5)
    whole = {name: p.shape[0] for name, p in model.named_parameters() if p.ndim == 4}
    channels = {name: int(sparsifier.masks[name].flatten(1)[:, 0].sum()) for name in whole}
    seen = {name: set() for name in whole}
    for _ in random_steps(model, optimizer, 60):
        assert sparsifier.densities["3.weight"] == 1
        for name in whole:
            rows = sparsifier.masks[name].flatten(1)
            assert torch.equal(rows.all(1), rows.any(1))
            assert int(rows.all(1).sum()) == channels[name]
            seen[name].add(tuple(rows.all(1).tolist()))
    assert all(0 < channels[name] < whole[name] and len(seen[name]) > 4 for name in whole)
    sizes = {layer.name: layer.numel for layer in describe(model)}
    off = sum(sparsifier.densities[name] * size - 0.4 * size for name, size in sizes.items())
    assert abs(off) <= (3 * 9 + 16 * 9) / 2  # to half a channel a layer


def test_which_channel_goes_and_which_comes():
    """The one of least mean size goes, that of the largest mean gradient comes, and starts at zero."""
    model = nn.Sequential(nn.Conv1d(2, 4, 1, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    optimizer = sgd(model)
    first = torch.tensor([True, True, False, False]).view(4, 1, 1).expand(4, 2, 1)
    given_masks = {"0.weight": first, "2.weight": torch.ones(2, 4, dtype=torch.bool)}
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[5.0, 0.0], [2.0, -2.0], [9.0, 9.0], [9.0, 9.0]]).view(4, 2, 1))
    options = {"delta_t": 2, "density": 0.6, "masks": given_masks}
    sparsifier = attach(model, optimizer, method="rigl-struct", **options)
    sparsifier.step_count = 1
    model[0].weight.grad = torch.tensor([[7.0, 0.0], [0.0, 0.0], [-3.0, 3.0], [4.0, 1.0]]).view(4, 2, 1)
    optimizer.step()  # means 2.5 and 2 of those active; 3.5, 0, 3 and 2.5 of the gradients
    assert sparsifier.masks["0.weight"].flatten(1).all(1).tolist() == [True, False, True, False]
    assert model[0].weight.flatten(1).tolist() == [[5, 0], [0, 0], [0, 0], [0, 0]]


def test_a_channel_that_returns_at_once_keeps_its_weights():
    """Set to 0 it would send nothing through ReLU, get no gradient and be lost, whatever its mask says."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(2, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 2)),
        *(nn.Flatten(), nn.Linear(8, 5)),
    )
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method="rigl-struct", density=0.5, delta_t=3)
    advance(model, optimizer, 60)
    assert sparsifier.update_count == 20
    rows = sparsifier.masks["0.weight"].flatten(1).all(1)
    assert torch.equal(model[0].weight.flatten(1).any(1), rows)


@pytest.mark.parametrize("method", SHARING)
def test_redistribution_moves_weights_between_layers(method):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method, alpha=0.5)
    first = counts(sparsifier)
    advance(model, optimizer, 30)
    assert counts(sparsifier) != first


@pytest.mark.parametrize("method", MASKED)
@pytest.mark.parametrize(
    ("preset", "t_start", "grown", "pruned"),
    [
        ("repro2021", 0.0, [9, 19, 29], [9, 19, 29, 39]),
        ("repro2021", 0.25, [9, 19, 29], [19, 29, 39]),
        ("google", 0.0, [0, 10, 20], [0, 10, 20, 30]),
        ("google", 0.25, [0, 10, 20], [10, 20, 30]),
    ],
)
def test_updates_come_when_the_schedule_says(method, preset, t_start, grown, pruned):
    """Growing ends before t_end, pruning with the first update at or after it; google's are no steps."""
    model = network()
    optimizer = sgd(model)
    schedule = {"total_steps": 40, "delta_t": 10, "t_start": t_start, "t_end": 0.75}
    sparsifier = attach(model, optimizer, method=method, preset=preset, **schedule)
    due = []
    for _ in random_steps(model, optimizer, 41):
        due += [sparsifier.step_count] if sparsifier.update_due else []
    expected = (pruned if method == "pruning" else grown) if method in MOVING else []
    # `due` is read after each step, that is before the next
    assert ([0] if preset == "google" and 0 in expected else []) + due == expected
    assert sparsifier.update_count == len(expected)
    assert sparsifier.step_count == 41 - (len(expected) if preset == "google" else 0)


@pytest.mark.parametrize("method", ["dense", "small-dense"])
def test_dense_methods_leave_training_as_it_is(method):
    assert not METHODS[method].masked
    model, twin = network(), network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method)
    advance(model, optimizer, 12)
    assert sparsifier.masks == sparsifier.densities == {}
    advance(twin, sgd(twin), 12)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("method", MASKED)
def test_gradient_accumulation_equals_one_batch(method):
    ends = []
    for parts in (1, 4):
        model = network().double()
        model[1] = nn.Identity()  # batch statistics are the one thing micro-batches change
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        sparsifier = attach(model, optimizer, method=method, total_steps=24)
        for step in range(24):
            x, y = batch(step)
            optimizer.zero_grad()
            for xs, ys in zip(x.double().chunk(parts), y.chunk(parts), strict=True):
                (F.cross_entropy(model(xs), ys) / parts).backward()
            optimizer.step()
        assert sparsifier.update_count == (3 + (method == "pruning") if method in MOVING else 0)
        ends.append((sparsifier.masks, list(model.parameters())))
    assert same(ends[0][0], ends[1][0])
    for one, four in zip(ends[0][1], ends[1][1], strict=True):
        torch.testing.assert_close(one, four, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", MASKED)
@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_postpones_the_update(fused, method):
    """GradScaler does not call an ordinary optimiser after an overflow; a fused one it calls with a flag."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
    sparsifier = attach(model, optimizer, method=method, alpha=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    updates = []
    for step in range(12):
        before, number = snapshot(sparsifier), sparsifier.update_count
        values = [p.detach().clone() for p in model.parameters()]
        optimizer.zero_grad()
        x, y = batch(step)
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        overflows = step in (2, 5, 6)  # at 5 an update is due, and at 6 again
        if overflows:
            model[0].weight.grad[0, 0, 0, 0] = math.inf
        scaler.step(optimizer)
        scaler.update()
        if sparsifier.update_count > number:
            updates.append(step)
        else:
            assert same(before, sparsifier.masks)
        if overflows:
            assert all(torch.equal(a, b) for a, b in zip(values, model.parameters(), strict=True))
        assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert sparsifier.step_count == 9
    assert updates == ([7] if method in MOVING else [])


@pytest.mark.parametrize("method", MASKED)
def test_mixed_precision_that_overflows_by_itself(method):
    """The scale is far too high at first: whole passes under autocast overflow until it has come down."""
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1000)
    skipped = 0
    for step in range(24):
        before, number, scale = snapshot(sparsifier), sparsifier.update_count, scaler.get_scale()
        values = [p.detach().clone() for p in model.parameters()]
        optimizer.zero_grad()
        x, y = batch(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(100 * loss).backward()
        for parameter in model.parameters():
            parameter.grad /= 100
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() < scale:
            skipped += 1
            assert all(torch.equal(a, b) for a, b in zip(values, model.parameters(), strict=True))
        if sparsifier.update_count == number:
            assert same(before, sparsifier.masks)
        assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert 5 <= skipped < 20
    assert sparsifier.step_count == 24 - skipped
    assert sparsifier.update_count == ((24 - skipped) // 5 if method in MOVING else 0)


@pytest.mark.parametrize("method", MOVING)
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaled_loss_moves_masks_as_a_plain_one(fused, method):
    ends = []
    for scaled in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
        sparsifier = attach(model, optimizer, method=method)
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=scaled)
        for step in range(12):
            x, y = batch(step)
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        assert sparsifier.update_count == 2
        ends.append((sparsifier.masks, model.state_dict()))
    assert same(ends[0][0], ends[1][0])
    assert same(ends[0][1], ends[1][1])


def test_a_mask_update_recompiles_nothing():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # which other tests of this process count up
    model = network()
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = attach(compiled, optimizer)
    assert set(sparsifier.masks) == {"0.weight", "3.weight", "5.weight"}
    advance(compiled, optimizer, 2)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    advance(compiled, optimizer, 20, 2)
    assert sparsifier.update_count == 4
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs == 1


@pytest.mark.parametrize("method", MOVING)
def test_closures_as_some_trainers_pass_them(method):
    ends = []
    for closed in (False, True):
        model = network()
        optimizer = sgd(model)
        sparsifier = attach(model, optimizer, method=method)
        losses = []
        for step in range(12):
            x, y = batch(step)

            def closure(model=model, optimizer=optimizer, x=x, y=y):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            if closed:
                losses.append(float(optimizer.step(closure).detach()))
            else:
                losses.append(float(closure().detach()))
                optimizer.step()
        ends.append((losses, sparsifier.masks))
    assert ends[0][0] == ends[1][0]
    assert same(ends[0][1], ends[1][1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("preset", "border", "make"), [("repro2021", 14, "sgd"), ("google", 7, "adamw-foreach")]
)
def test_resume_is_bit_for_bit(tmp_path, method, preset, border, make):
    """Through a file, just before an update and just after one, and 60 steps on."""

    def start(seed):
        model = network(seed)
        optimizer = OPTIMIZERS[make](model.parameters())
        options = {"preset": preset, "total_steps": 80, "delta_t": 5, "seed": seed}
        return model, optimizer, attach(model, optimizer, method=method, **options)

    model, optimizer, sparsifier = start(7)
    advance(model, optimizer, border)
    assert sparsifier.update_due == (preset == "repro2021" and METHODS[method].moves)
    torch.save([part.state_dict() for part in (model, optimizer, sparsifier)], tmp_path / "state.pt")
    list(random_steps(model, optimizer, 60))

    other = start(8)  # other weights, masks and seed: all of it comes from the file
    for part, state in zip(other, torch.load(tmp_path / "state.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    list(random_steps(other[0], other[1], 60))
    assert sparsifier.update_count > 8 or method not in MOVING
    for name in ("step_count", "update_count", "densities", "update_due", "seed"):
        assert getattr(sparsifier, name) == getattr(other[2], name)
    assert same(sparsifier.masks, other[2].masks)
    assert same(model.state_dict(), other[0].state_dict())
    for mine, theirs in zip(optimizer.state.values(), other[1].state.values(), strict=True):
        assert same(mine, theirs)


def test_a_loaded_state_masks_the_weights_at_once():
    model = network()
    sparsifier = attach(model, sgd(model), method="static", seed=1)
    before = snapshot(sparsifier)
    state = _other(network(), "static").state_dict()
    sparsifier.load_state_dict(state)
    assert not same(before, state["masks"])
    assert same(sparsifier.masks, state["masks"])
    assert not bool(model[0].weight[~state["masks"]["0.weight"]].any())


@pytest.mark.parametrize("method", MASKED)
def test_a_model_that_goes_to_another_dtype_after_attaching(method):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method, total_steps=24)
    model.double()
    for step in range(24):
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x.double()), y).backward()
        optimizer.step()
    assert sparsifier.update_count == (3 + (method == "pruning") if method in MOVING else 0)
    for name, mask in sparsifier.masks.items():
        weight = model.get_parameter(name)
        assert weight.dtype == torch.float64
        assert torch.equal(weight != 0, mask) or method in MOVING
        assert not bool(weight[~mask].any())


def test_masks_follow_a_model_that_moves():
    """To a device whose tensors have no data: the masks go along, and nothing waits for it."""
    torch.__future__.set_swap_module_params_on_conversion(True)  # as a move between real devices does
    try:
        model = nn.Linear(6, 4, bias=False)
        optimizer = sgd(model)
        sparsifier = attach(model, optimizer, method="static", density=0.5)
        model.to("meta")
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    model.weight.grad = torch.empty_like(model.weight)
    optimizer.step()
    assert sparsifier.masks["weight"].device.type == "meta"
    assert (sparsifier.densities, sparsifier.step_count) == ({"weight": 0.5}, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", MASKED)
def test_a_model_that_moves_to_cuda_after_attaching(method):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method, total_steps=24)
    first = counts(sparsifier)
    model.cuda()
    for step in range(24):
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x.cuda()), y.cuda()).backward()
        optimizer.step()
    assert sparsifier.update_count == (3 + (method == "pruning") if method in MOVING else 0)
    assert counts(sparsifier) == first or method not in FIXED
    for name, mask in sparsifier.masks.items():
        assert mask.is_cuda
        assert not bool(model.get_parameter(name)[~mask].any())


@pytest.mark.parametrize("method", MASKED)
def test_two_sparsifiers_do_not_know_of_each_other(method):
    def alone(method, seed):
        model = network(seed)
        optimizer = sgd(model)
        sparsifier = attach(model, optimizer, method=method, seed=seed)
        return model, optimizer, sparsifier

    expected = [alone(method, 1), alone("rigl", 2)]
    for model, optimizer, _ in expected:
        advance(model, optimizer, 12)
    pair = [alone(method, 1), alone("rigl", 2)]
    for step in range(12):
        for model, optimizer, _ in pair:
            advance(model, optimizer, 1, step)
    for mine, theirs in zip(pair, expected, strict=True):
        assert same(mine[2].masks, theirs[2].masks)
        assert same(mine[0].state_dict(), theirs[0].state_dict())


def test_two_optimisers_on_one_model_mask_what_each_trains():
    model = network()
    optimizers = [sgd(model[:2]), torch.optim.AdamW(model[2:].parameters())]
    first = attach(model, optimizers[0], method="rigl")
    second = attach(model, optimizers[1], method="snfs")
    assert list(first.masks) == ["0.weight"]
    assert list(second.masks) == ["3.weight", "5.weight"]
    for step in range(6):
        x, y = batch(step)
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()
    assert first.update_count == second.update_count == 1


def test_state_is_safe_to_load_and_checked(tmp_path):
    model = network()
    sparsifier = attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.save(sparsifier.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with pytest.raises(ValueError, match="method='rigl'"):
        _other(network(), "set").load_state_dict(state)
    for key in NEEDED:
        other = _other(network(1), "rigl")
        masks = snapshot(other)
        with pytest.raises(ValueError, match=f"the state has no '{key}'"):
            other.load_state_dict({name: value for name, value in state.items() if name != key})
        assert same(masks, other.masks)
    small = nn.Linear(3, 4)
    with pytest.raises(ValueError, match="names and shapes"):
        _other(small, "rigl").load_state_dict(state)


def _other(model, method):
    return attach(model, torch.optim.SGD(model.parameters(), lr=0.1), method=method)


@pytest.mark.parametrize("method", [name for name in FIXED if name != "rigl-struct"])
def test_masks_may_be_copied_into(method):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method)
    mine = torch.zeros(8, 2, 3, 3, dtype=torch.bool)
    mine[:, 0] = True
    sparsifier.masks["0.weight"].copy_(mine)
    assert sparsifier.densities["0.weight"] == 0.5
    advance(model, optimizer, 2)
    assert not bool(model[0].weight[~mine].any())
    advance(model, optimizer, 10, 2)
    assert int(sparsifier.masks["0.weight"].sum()) == int(mine.sum())
    assert sparsifier.update_count == 2 * (method in MOVING)


def test_masks_may_be_replaced():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attach(model, optimizer, method="static")
    mine = torch.zeros(8, 2, 3, 3, dtype=torch.bool)
    mine[:, 0] = True
    sparsifier.masks["0.weight"] = torch.empty_like(mine).copy_(mine)  # as often written to as the old one
    advance(model, optimizer, 1)
    assert not bool(model[0].weight[~mine].any())
    assert sparsifier.densities["0.weight"] == 0.5


@pytest.mark.parametrize("loaded", [False, True])
def test_state_follows_a_mask_that_is_narrowed(loaded):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method="static")
    advance(model, optimizer, 3)
    mine = sparsifier.masks["0.weight"].clone()
    mine[0] = False
    if loaded:
        state = sparsifier.state_dict()
        state["masks"]["0.weight"] = mine
        state["active"]["0.weight"] = int(mine.sum())
        sparsifier.load_state_dict(state)
    else:
        sparsifier.masks["0.weight"].copy_(mine)
    advance(model, optimizer, 1, 3)
    momentum = optimizer.state[model[0].weight]["momentum_buffer"]
    assert momentum[mine].any()
    assert not momentum[~mine].any()
    assert not model[0].weight[~mine].any()


def test_what_tensors_do_not_tell_shows_every_delta_t_steps():
    model = network()
    optimizer = sgd(model)
    attach(model, optimizer, method="static", delta_t=5)
    advance(model, optimizer, 2)
    model[0].weight.data.fill_(1.0)
    advance(model, optimizer, 2, 2)
    with pytest.warns(UserWarning, match="inactive weights, first of 0.weight, were not 0 before step 4"):
        advance(model, optimizer, 1, 4)


def test_optimisers_that_take_many_gradients_a_step():
    model, twin = network().double(), network().double()
    with pytest.raises(ValueError, match="LBFGS takes several gradients a step"):
        attach(model, torch.optim.LBFGS(model.parameters()))
    optimizers = [torch.optim.LBFGS(m.parameters(), max_iter=5) for m in (model, twin)]
    attach(model, optimizers[0], method="dense")
    x, y = batch(0)
    for network_, optimizer in zip((model, twin), optimizers, strict=True):

        def closure(network_=network_, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(network_(x.double()), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_summary_can_be_read():
    model = network()
    text = _other(model, "rigl").summary()
    assert "0.weight" in text
    assert "8x2x3x3" in text
    total = text.splitlines()[-1].split()
    assert total[0] == "total"
    assert abs(float(total[-1]) - 0.3) < 0.01
    assert all(len(line) <= 80 for line in text.splitlines())
    assert _other(network(), "dense").summary().split()[-1] == "-"


@pytest.mark.parametrize("method", METHODS)
def test_detach_leaves_dense_training(method):
    model = network()
    optimizer = sgd(model)
    hooks = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    sparsifier = attach(model, optimizer, method=method, t_end=0.05)
    assert [len(some) for some in hooks] == [1, 1]
    advance(model, optimizer, 5)
    sparsifier.detach()
    assert [len(some) for some in hooks] == [0, 0]
    sparsifier.detach()  # a second time is no harm
    before, state = snapshot(sparsifier), sparsifier.step_count
    list(random_steps(model, optimizer, 6))
    assert same(before, sparsifier.masks)
    assert sparsifier.step_count == state == 5
    if METHODS[method].masked:
        assert all(
            bool(model.get_parameter(name)[~mask].any()) for name, mask in before.items() if not mask.all()
        )
        attach(model, optimizer, method="static", masks=before)  # and another may take over
        assert not any(bool(model.get_parameter(name)[~mask].any()) for name, mask in before.items())


@pytest.mark.parametrize(("method", "owned"), [*((name, False) for name in METHODS), ("rigl", True)])
def test_a_copy_of_all_three_trains_like_the_first(method, owned):
    """Also where the model holds its sparsifier, as a Lightning module does."""
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method)
    if owned:
        model.sparsifier = sparsifier
    advance(model, optimizer, 6)
    three = (model, optimizer, sparsifier)
    copies = [copy.deepcopy(three), pickle.loads(pickle.dumps(three))]
    advance(model, optimizer, 30, 6)
    for copied in copies:
        assert copied[2].step_count == 6
        advance(*copied[:2], 30, 6)
        assert same(copied[0].state_dict(), model.state_dict())
        assert same(copied[2].masks, sparsifier.masks)
        assert copied[2].step_count == sparsifier.step_count
        copied[2].detach()
        assert not copied[1]._optimizer_step_pre_hooks
    again = copy.deepcopy(copies[0])  # detached, and stays so
    assert not again[1]._optimizer_step_pre_hooks


def test_two_sparsifiers_do_not_share_weights():
    model = network()
    optimizer = sgd(model)
    first = attach(model, optimizer, method="set")
    with pytest.raises(ValueError, match=r"set masks this optimizer's weights already: detach\(\) it first"):
        attach(model, optimizer)
    first.detach()
    attach(model, optimizer)


@pytest.mark.parametrize("method", MOVING)
def test_weights_frozen_later_stay_and_keep_their_masks(method):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method)
    advance(model, optimizer, 3)
    frozen = model[3].weight.requires_grad_(False)
    frozen.grad = None
    before, mask = frozen.clone(), sparsifier.masks["3.weight"].clone()
    advance(model, optimizer, 9, 3)
    assert sparsifier.update_count == 2
    assert torch.equal(frozen, before)
    assert torch.equal(sparsifier.masks["3.weight"], mask)
    for weight in model.parameters():
        weight.requires_grad_(False)
        weight.grad = None
    for _ in range(5):
        optimizer.step()
    assert sparsifier.update_count == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize("method", MOVING)
def test_what_is_dropped_is_zero_whatever_it_was(method, preset, value):
    model = network()
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method, preset=preset, alpha=1.0)
    advance(model, optimizer, 3 if preset == "repro2021" else 4)
    with torch.no_grad():
        for weight in (model[0].weight, model[3].weight, model[5].weight):
            weight[:] = value
    while not sparsifier.update_due:
        optimizer.zero_grad()
        optimizer.step()
    optimizer.zero_grad()
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    before, count = snapshot(sparsifier), sparsifier.update_count
    optimizer.step()
    assert sparsifier.update_count == count + 1
    assert method in ("pruning", "rigl-struct") or not same(before, sparsifier.masks)
    for name, mask in sparsifier.masks.items():
        assert not bool(model.get_parameter(name)[~mask].any())


@pytest.mark.parametrize("method", ["static", "set", "rigl"])
def test_what_is_inactive_from_the_start_is_zero_whatever_it_was(method):
    model = network()
    with torch.no_grad():
        model[5].weight.fill_(math.inf)
    sparsifier = attach(model, sgd(model), method=method)
    assert not bool(model[5].weight[~sparsifier.masks["5.weight"]].any())


@pytest.mark.parametrize("method", METHODS)
def test_the_model_stays_a_plain_model(method):
    """Pickle and deepcopy give a model, and an optimiser, that nothing masks any more."""
    model = network()
    names, kinds = list(model.state_dict()), [type(module) for module in model.modules()]
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method)
    advance(model, optimizer, 6)
    assert list(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == kinds
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    before, end = snapshot(sparsifier), copy.deepcopy(model.state_dict())
    for copied in (copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))):
        assert same(copied[0].state_dict(), end)
        list(random_steps(*copied, 5))
        for name, mask in sparsifier.masks.items():
            assert bool(copied[0].get_parameter(name)[~mask].any()) or bool(mask.all())
    assert same(before, sparsifier.masks)
    assert same(model.state_dict(), end)
    assert sparsifier.step_count == 6


@pytest.mark.parametrize("method", METHODS)
def test_global_random_state_is_not_touched(method):
    model = network()
    optimizer = sgd(model)
    before = torch.get_rng_state()
    sparsifier = attach(model, optimizer, method=method)
    advance(model, optimizer, 12)
    sparsifier.load_state_dict(sparsifier.state_dict())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", [name for name in MASKED if name != "pruning"])
def test_seeds_decide_the_masks(method):
    def masks(seed):
        model = network()
        optimizer = sgd(model)
        options = {"masks": given_masks} if METHODS[method].source else {}
        sparsifier = attach(model, optimizer, method=method, seed=seed, **options)
        advance(model, optimizer, 12)
        return sparsifier.masks

    twin = network()
    given_masks = attach(twin, sgd(twin), method="static").masks
    assert same(masks(1), masks(1))
    assert same(masks(1), masks(2)) == bool(METHODS[method].source)  # nothing is drawn where masks are given


def test_a_seed_decides_what_set_grows():
    masks = {"weight": torch.arange(900).view(30, 30) < 450}
    ends = []
    for seed in (1, 2):
        torch.manual_seed(0)
        model = nn.Linear(30, 30, bias=False)
        optimizer = sgd(model)
        sparsifier = attach(model, optimizer, method="set", delta_t=2, masks=masks, seed=seed)
        list(random_steps(model, optimizer, 2))
        ends.append(snapshot(sparsifier))
    assert not same(*ends)


def test_sets_draws_are_new_at_every_update():
    """Two updates of equal weights and gradients grow different connections."""
    model = nn.Linear(30, 30, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    given_masks = {"weight": torch.arange(900).view(30, 30) < 450}
    sparsifier = attach(model, optimizer, method="set", delta_t=2, masks=given_masks, seed=3)
    grown = []
    for sparsifier.step_count in (1, 3):
        sparsifier.masks["weight"].copy_(given_masks["weight"])
        with torch.no_grad():
            model.weight.copy_(torch.arange(900.0, 0, -1).view(30, 30) * given_masks["weight"])
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.step()
        grown.append(sparsifier.masks["weight"] & ~given_masks["weight"])
    assert int(grown[0].sum()) > 50
    assert float((grown[0] & grown[1]).sum()) < 0.8 * float(grown[0].sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "riggl"}, "method='riggl' is unknown"),
        ({"density": 0.0}, "density=0.0"),
        ({"density": 1.5}, "density=1.5"),
        ({"density": math.nan}, "density=nan"),
        ({"distribution": "flat"}, "distribution='flat'"),
        ({"total_steps": 0}, "total_steps=0"),
        ({"delta_t": 0}, "delta_t=0"),
        ({"alpha": 1.2}, "alpha=1.2"),
        ({"alpha": math.nan}, "alpha=nan"),
        ({"t_end": -0.1}, "t_end=-0.1"),
        ({"t_start": 1.01}, r"t_start=1\.01 must lie in \[0, 1\]"),
        ({"preset": "nips"}, "preset='nips'"),
        ({"density": None}, "density=None"),
        ({"density": 0.2, "flops": 0.6, "input_shape": (2, 4, 4)}, "density=0.2 and flops=0.6"),
        ({"total_steps": math.nan}, "total_steps=nan must be a whole number"),
        ({"total_steps": math.inf}, "total_steps=inf must be a whole number"),
        ({"delta_t": 2.5}, "delta_t=2.5 must be a whole number"),
        ({"delta_t": 1}, "delta_t=1 makes every step an update, and those train nothing"),
        ({"flops": 0.5, "input_shape": (7, 4, 4)}, r"input_shape=\(7, 4, 4\) does not go through the model"),
        ({"flops": 0.0, "input_shape": (2, 4, 4)}, "flops=0.0"),
        ({"flops": 1.1, "input_shape": (2, 4, 4)}, "flops=1.1"),
        ({"flops": 0.2}, r"0\.weight: describe the model with its input_shape"),
        ({"flops": 0.2, "distribution": "uniform", "input_shape": (2, 4, 4)}, r"flops=0\.2 is too low"),
        ({"distribution": {"0.weight": 1.0}}, r"differ in: 3\.weight, 5\.weight"),
        ({"distribution": {"0.weight": 1, "3.weight": 1, "5.weight": 2}}, r"density=2 of 5\.weight"),
        ({"method": "lottery", "masks": None}, "lottery starts from a finished pruning run: give its masks"),
        ({"method": "rigl-reinit", "masks": None}, "rigl-reinit starts from a finished rigl-sm run"),
        ({"method": "rigl-struct", "density": 0.2}, r"density=0\.2 is too low: the layers that stay dense"),
        ({"method": "pruning", "density": None}, "density=None"),
        ({"method": "pruning", "density": 0.001}, "density=0.001 leaves less than a weight a layer"),
        ({"method": "pruning", "delta_t": 200}, "delta_t=200 leaves pruning no update"),
        ({"method": "pruning", "delta_t": 60, "t_start": 0.7}, "delta_t=60 leaves pruning no update"),
    ],
)
def test_bad_options_are_named(options, message):
    model = network()
    optimizer = sgd(model)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        attach(model, optimizer, **options)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks


@given(
    total_steps=st.integers(1, 30),
    delta_t=st.integers(2, 30),
    t_end=st.sampled_from([0.0, 0.5, 0.75, 1.0]),
    method=st.sampled_from(["rigl", "set", "static"]),
    preset=st.sampled_from(["repro2021", "google"]),
)
def test_masks_that_will_never_move_are_told(total_steps, delta_t, t_end, method, preset):
    model = network()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sparsifier = attach(
            model,
            sgd(model),
            total_steps=total_steps,
            delta_t=delta_t,
            t_end=t_end,
            method=method,
            preset=preset,
        )
    due = []
    for sparsifier.step_count in range(total_steps):
        due.append(sparsifier.update_due)
    often = method != "static" and preset == "repro2021" and delta_t < 10
    expected = [f"delta_t={delta_t}: an update takes a step's place"] * often
    if method != "static" and not any(due):
        expected += [f"delta_t={delta_t} leaves {method} no update before t_end={t_end}"]
    for warning, start in zip(said, expected, strict=True):
        assert str(warning.message).startswith(start)
        assert warning.filename == __file__


def test_masks_of_other_types_are_masks():
    model = network()
    names = ("0.weight", "3.weight", "5.weight")
    masks = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.uint8) for name in names}
    for mask in masks.values():
        mask.view(-1)[::2] = 255
    sparsifier = attach(model, sgd(model), method="static", masks=masks)
    assert set(sparsifier.densities.values()) == {0.5}
    assert "255" not in sparsifier.summary()


class Half(nn.Module):
    """A network of which a pass uses one layer."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.used(x)


def test_layers_that_cannot_be_counted_are_named():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(ValueError, match="1 has no shape yet: pass a batch through the model first"):
        attach(model, sgd(nn.Linear(1, 1)))
    attention = nn.MultiheadAttention(8, 2)
    half = Half()
    with pytest.raises(ValueError, match=r"unused\.weight: .*a layer that its forward pass does not call"):
        attach(half, sgd(half), flops=0.5, input_shape=(8,))
    with pytest.raises(ValueError, match=r"input_shape=\(5, 8\) does not go through the model as floats"):
        attach(attention, sgd(attention), flops=0.5, input_shape=(5, 8))
    empty = nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 4), nn.Linear(4, 4))
    assert list(attach(empty, sgd(empty)).masks) == ["2.weight"]


def test_a_model_with_nothing_to_mask():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        _other(model, "rigl")
    model = network()
    with pytest.raises(ValueError, match="optimizer trains no convolution"):
        Sparsifier(model, torch.optim.SGD(network().parameters(), lr=0.1), method="rigl", total_steps=10)


@pytest.mark.parametrize("method", ["snfs", "rigl-sm"])
def test_methods_by_momentum_need_some(method):
    model = network()
    for optimizer in (torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.RMSprop(model.parameters())):
        with pytest.raises(ValueError, match=f"{method} goes by momentum: momentum=0 should be above 0"):
            attach(model, optimizer, method=method)
        assert not optimizer._optimizer_step_pre_hooks
    attach(model, torch.optim.RMSprop(model.parameters(), momentum=0.9), method=method)
    for other in ("rigl", "rigl-sg", "pruning"):
        attach(model, torch.optim.SGD(model.parameters(), lr=0.1), method=other).detach()


@pytest.mark.parametrize("method", MASKED)
def test_masks_to_start_from(method):
    model = network()
    if method == "rigl-struct":
        masks = {name: torch.arange(p.shape[0]).view(-1, 1, 1, 1) % 2 == 0 for name, p in _weights(model)[:2]}
        masks = {name: mask.expand_as(model.get_parameter(name)) for name, mask in masks.items()}
        masks["5.weight"] = torch.ones(5, 32, dtype=torch.bool)
    else:
        masks = {name: torch.rand(p.shape) < 0.5 for name, p in _weights(model)}
    before = {name: mask.clone() for name, mask in masks.items()}
    optimizer = sgd(model)
    sparsifier = attach(model, optimizer, method=method, masks=masks, density=0.1, alpha=0.5)
    assert same(sparsifier.masks, before)
    assert not any(bool(weight[~before[name]].any()) for name, weight in _weights(model))
    advance(model, optimizer, 20)
    assert same(masks, before), "what was given is not written to"
    assert same(sparsifier.masks, before) == (method not in MOVING)
    if method in FIXED:
        assert counts(sparsifier) == {name: int(mask.sum()) for name, mask in before.items()}


@pytest.mark.parametrize("method", ["static", "lottery", "rigl-reinit", "pruning"])
@pytest.mark.parametrize("spoil", ["missing", "other name", "other shape", "transposed"])
def test_masks_of_another_model_are_refused(method, spoil):
    model = network()
    masks = {name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in _weights(model)}
    last = masks.pop("5.weight")
    if spoil == "other name":
        masks["4.weight"] = last
    elif spoil != "missing":
        masks["5.weight"] = last[:, :-1] if spoil == "other shape" else last.T
    optimizer, before = sgd(model), copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="the masks given do not have this model's names and shapes"):
        attach(model, optimizer, method=method, masks=masks)
    assert same(model.state_dict(), before)
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("method", [name for name in MASKED if name != "pruning"])
@pytest.mark.parametrize("distribution", ["erk", "er", "erk-flops"])
def test_a_budget_in_flops(method, distribution):
    model = network()
    options = {"method": method, "flops": 0.6, "distribution": distribution, "density": None}
    sparsifier = attach(model, sgd(model), input_shape=(2, 4, 4), **options)
    layers = describe(model, (2, 4, 4))
    uses = {layer.name: layer.numel * layer.positions for layer in layers}
    spent = sum(uses[name] * density for name, density in sparsifier.densities.items())
    # a weight a layer in all; whole channels cannot come nearer than half a channel
    near = sum(layer.positions for layer in layers) if method != "rigl-struct" else 16 * 9 + 4 * 18
    assert abs(spent - 0.6 * sum(uses.values())) <= near


def _weights(model):
    return [(name, weight) for name, weight in model.named_parameters() if weight.ndim > 1]


def test_pruning_ends_where_updates_take_no_step():
    """Under google's rule updates come on top of the steps; those before t_start do not exist."""
    model = network()
    optimizer = sgd(model)
    options = {"preset": "google", "density": 0.3, "t_start": 0.4, "t_end": 0.6, "delta_t": 1}
    sparsifier = attach(model, optimizer, method="pruning", total_steps=100, **options)
    size = sum(layer.numel for layer in describe(model)[1:])
    for _ in random_steps(model, optimizer, 100):
        pass
    assert sum(counts(sparsifier).values()) - 8 * 2 * 9 == round(0.3 * size)
    assert sparsifier.update_count == 21  # at steps 40 to 60


def test_structured_masks_must_be_of_whole_channels():
    model = network()
    masks = {name: torch.ones(p.shape, dtype=torch.bool) for name, p in _weights(model)}
    masks["3.weight"][0, 0, 0, 0] = False
    with pytest.raises(ValueError, match=r"mask given for 3\.weight is not of whole output channels"):
        attach(model, sgd(model), method="rigl-struct", masks=masks)


def test_pruning_refuses_a_budget_of_flops():
    model = network()
    with pytest.raises(ValueError, match=r"flops=0\.2: pruning"):
        attach(model, sgd(model), method="pruning", flops=0.2, input_shape=(2, 4, 4))


@pytest.mark.parametrize("method", ["snfs", "rigl-sm"])
@pytest.mark.parametrize("make", [torch.optim.Adamax, torch.optim.Adagrad])
def test_momentum_of_other_optimizers(method, make):
    """Adamax has a first moment; Adagrad has none, and no method goes by the gradient in its place."""
    model = network()
    optimizer = make(model.parameters(), lr=0.01)
    attach(model, optimizer, method=method, delta_t=5)
    if make is torch.optim.Adagrad:
        with pytest.raises(ValueError, match="goes by momentum, and the optimizer keeps none"):
            advance(model, optimizer, 5)
    else:
        advance(model, optimizer, 10)


def test_no_layer_may_start_empty():
    model = network()
    with pytest.raises(ValueError, match=r"density=0\.001 leaves .* without a weight"):
        attach(model, sgd(model), density=0.001)
