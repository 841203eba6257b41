"""The sparsifier in loops as people write them."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rigl.masks import drop, grow
from rigl.schedules import drop_fraction
from rigl.sparsifier import Sparsifier

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


def attach(model, optimizer, **options):
    options = {"method": "rigl", "density": 0.3, "total_steps": 100, "delta_t": 5, **options}
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
    return all(torch.equal(first[name], second[name]) for name in first)


def counts(sparsifier):
    return {name: int(mask.sum()) for name, mask in sparsifier.masks.items()}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("method", ["set", "rigl"])
@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_invariants_hold_at_every_step(make, method, preset, layout):
    model = network().to(memory_format=layout)
    optimizer = make(model.parameters())
    sparsifier = attach(model, optimizer, method=method, preset=preset, total_steps=30)
    weights = dict(model.named_parameters())
    places = {name: (weights[name].data_ptr(), mask.data_ptr()) for name, mask in sparsifier.masks.items()}
    first, moves = counts(sparsifier), 0
    for step in range(30):
        before, due = snapshot(sparsifier), sparsifier.update_due
        values = {name: p.detach().clone() for name, p in model.named_parameters()}
        advance(model, optimizer, 1, step)
        moved = not same(before, sparsifier.masks)
        moves += moved
        assert due or not moved, "masks move at updates only"
        if due:  # the update takes the place of the optimiser's step
            for name, value in model.named_parameters():
                kept = sparsifier.masks.get(name, torch.ones_like(value, dtype=torch.bool))
                stays = kept & before.get(name, kept)
                regrown = stays & (value == 0)
                assert torch.equal(value[stays & ~regrown], values[name][stays & ~regrown])
        assert counts(sparsifier) == first
        for name, mask in sparsifier.masks.items():
            assert not bool(weights[name][~mask].any())
            if preset == "repro2021":
                for state in optimizer.state[weights[name]].values():
                    if state.shape == mask.shape:
                        assert not bool(state[~mask].any())
    assert moves >= 3
    if make is OPTIMIZERS["sgd"]:
        assert len(optimizer.state[weights["0.weight"]]) == 1
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
    optimizer.step()
    assert len(expected) == 3
    for name, (mask, value, buffer) in expected.items():
        weight = model.get_parameter(name)
        assert torch.equal(sparsifier.masks[name], mask)
        assert torch.equal(weight, value)
        assert torch.equal(optimizer.state[weight]["momentum_buffer"], buffer)
        assert weight.grad is None


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


def test_google_leaves_the_first_convolution_alone():
    model = network()
    masked = attach(model, torch.optim.SGD(model.parameters(), lr=0.1), preset="google")
    assert masked.densities["0.weight"] == 1
    model = network()
    masked = attach(model, torch.optim.SGD(model.parameters(), lr=0.1), density=0.2)
    assert masked.densities["0.weight"] < 1


def test_updates_come_when_the_schedule_says():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attach(model, optimizer, total_steps=40, delta_t=10, t_end=0.75)
    due = []
    for step in range(40):
        if sparsifier.update_due:
            due.append(step)
        advance(model, optimizer, 1, step)
    assert due == [9, 19, 29]
    assert (sparsifier.step_count, sparsifier.update_count) == (40, 3)


@pytest.mark.parametrize("method", ["dense", "small-dense", "static"])
def test_methods_that_never_move(method):
    model, twin = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = attach(model, optimizer, method=method)
    before = snapshot(sparsifier)
    advance(model, optimizer, 12)
    assert same(before, sparsifier.masks)
    assert bool(sparsifier.masks) == (method == "static")
    if method != "static":
        plain = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
        advance(twin, plain, 12)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("method", ["static", "set", "rigl"])
def test_gradient_accumulation_equals_one_batch(method):
    ends = []
    for parts in (1, 4):
        model = network().double()
        model[1] = nn.Identity()  # batch statistics are the one thing micro-batches change
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        sparsifier = attach(model, optimizer, method=method)
        for step in range(22):
            x, y = batch(step)
            optimizer.zero_grad()
            for xs, ys in zip(x.double().chunk(parts), y.chunk(parts), strict=True):
                (F.cross_entropy(model(xs), ys) / parts).backward()
            optimizer.step()
        ends.append((sparsifier.masks, list(model.parameters())))
    assert same(ends[0][0], ends[1][0])
    for one, four in zip(ends[0][1], ends[1][1], strict=True):
        torch.testing.assert_close(one, four, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_postpones_the_update(fused):
    """GradScaler does not call an ordinary optimiser after an overflow; a fused one it calls with a flag."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
    sparsifier = attach(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    moved_at = []
    for step in range(12):
        before = snapshot(sparsifier)
        optimizer.zero_grad()
        x, y = batch(step)
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        if step in (2, 4, 5):  # 4 would be an update, and the one that stands in for it
            model[0].weight.grad[0, 0, 0, 0] = math.inf
        scaler.step(optimizer)
        scaler.update()
        if not same(before, sparsifier.masks):
            moved_at.append(step)
        assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert sparsifier.step_count == 9
    assert moved_at == [7]


def test_a_mask_update_recompiles_nothing():
    torch._dynamo.reset()
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


def test_closures_as_some_trainers_pass_them():
    ends = []
    for closed in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        sparsifier = attach(model, optimizer)
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


@pytest.mark.parametrize("method", ["static", "set", "rigl"])
@pytest.mark.parametrize("preset", ["repro2021", "google"])
@settings(max_examples=5, deadline=None)
@given(border=st.integers(0, 24))
def test_resume_is_bit_for_bit(method, preset, border):
    def start():
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        return model, optimizer, attach(model, optimizer, method=method, preset=preset, seed=7)

    model, optimizer, sparsifier = start()
    advance(model, optimizer, border)
    saved = copy.deepcopy([part.state_dict() for part in (model, optimizer, sparsifier)])
    advance(model, optimizer, 30 - border, border)

    other = start()
    for part, state in zip(other, saved, strict=True):
        part.load_state_dict(state)
    advance(other[0], other[1], 30 - border, border)
    assert same(sparsifier.masks, other[2].masks)
    assert sparsifier.update_count == other[2].update_count
    for name, value in model.state_dict().items():
        assert torch.equal(value, other[0].state_dict()[name])
    for mine, theirs in zip(optimizer.state.values(), other[1].state.values(), strict=True):
        assert torch.equal(mine["momentum_buffer"], theirs["momentum_buffer"])


def test_state_is_safe_to_load_and_checked(tmp_path):
    model = network()
    sparsifier = attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.save(sparsifier.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with pytest.raises(ValueError, match="method='rigl'"):
        _other(network(), "set").load_state_dict(state)
    small = nn.Linear(3, 4)
    with pytest.raises(ValueError, match="names and shapes"):
        _other(small, "rigl").load_state_dict(state)


def _other(model, method):
    return attach(model, torch.optim.SGD(model.parameters(), lr=0.1), method=method)


def test_masks_may_be_copied_into():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = attach(model, optimizer)
    mine = torch.zeros(8, 2, 3, 3, dtype=torch.bool)
    mine[:, 0] = True
    sparsifier.masks["0.weight"].copy_(mine)
    assert sparsifier.densities["0.weight"] == 0.5
    advance(model, optimizer, 2)
    assert not bool(model[0].weight[~mine].any())
    advance(model, optimizer, 10, 2)
    assert int(sparsifier.masks["0.weight"].sum()) == int(mine.sum())
    assert sparsifier.update_count == 2


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


def test_detach_and_reading():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attach(model, optimizer)
    text = sparsifier.summary()
    assert "0.weight" in text
    assert "8x2x3x3" in text
    total = text.splitlines()[-1].split()
    assert total[0] == "total"
    assert abs(float(total[-1]) - 0.3) < 0.01
    assert all(len(line) <= 80 for line in text.splitlines())
    sparsifier.detach()
    advance(model, optimizer, 3)
    assert bool(model[5].weight[~sparsifier.masks["5.weight"]].any())
    assert _other(network(), "dense").summary().split()[-1] == "-"


def test_the_model_stays_a_plain_model():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names = list(model.state_dict())
    attach(model, optimizer)
    assert list(model.state_dict()) == names
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_global_random_state_is_not_touched():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = torch.get_rng_state()
    attach(model, optimizer, method="set")
    advance(model, optimizer, 12)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_decide_the_masks():
    def masks(seed):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sparsifier = attach(model, optimizer, method="set", seed=seed)
        advance(model, optimizer, 12)
        return sparsifier.masks

    assert same(masks(1), masks(1))
    assert not same(masks(1), masks(2))


def test_shared_and_frozen_weights():
    model = nn.Sequential(
        nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    )
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    frozen = model[2].weight.clone()
    sparsifier = _other(model, "rigl")
    assert list(sparsifier.masks) == ["0.weight"]
    assert torch.equal(model[2].weight, frozen)


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
        ({"t_end": -0.1}, "t_end=-0.1"),
        ({"preset": "nips"}, "preset='nips'"),
    ],
)
def test_bad_options_are_named(options, message):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        attach(model, optimizer, **options)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks


def test_a_model_with_nothing_to_mask():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        _other(model, "rigl")
    model = network()
    with pytest.raises(ValueError, match="optimizer trains no convolution"):
        Sparsifier(model, torch.optim.SGD(network().parameters(), lr=0.1), method="rigl", total_steps=10)
