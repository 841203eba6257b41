"""Sparse execution computes what masked execution does, at active places alone."""

import copy
import pickle
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rigl.sparsity import execution
from rigl.sparsity.execution import COMPACT_FROM, Pattern, _SparseLinear, worthwhile
from rigl.sparsity.methods import METHODS, Method
from rigl.sparsity.sparsifier import Sparsifier

SHAPES = {"0.weight": (14, 12), "2.weight": (10, 14), "4.weight": (5, 10)}
MASKED = [name for name, method in METHODS.items() if method.masked]
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd-fused": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
}


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(width, height) for height, width in SHAPES.values()]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Tanh(), layers[2]).double()


def attach(model, how, *, optimizer="sgd", method="rigl", **options):
    made = OPTIMIZERS[optimizer](model.parameters())
    generator = torch.Generator().manual_seed(5)
    masks = {name: torch.rand(shape, generator=generator) < 0.3 for name, shape in SHAPES.items()}
    start = masks if isinstance(method, str) and METHODS[method].source else None
    options = {"density": 0.3, "distribution": "uniform", "total_steps": 200, "delta_t": 10, **options}
    return made, Sparsifier(model, made, method=method, masks=start, execution=how, **options)


def batch(step, size=8):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(size, 12, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 5, (size,), generator=generator)


def train(model, optimizer, steps, *, clip=None, parts=1, closure=False):
    for step in steps:

        def backward(step=step):
            optimizer.zero_grad()
            for part in range(parts):
                x, y = batch(parts * step + part)
                loss = F.cross_entropy(model(x), y) / parts
                loss.backward()
            if clip:
                nn.utils.clip_grad_value_(model.parameters(), clip)
            return loss

        if closure:
            optimizer.step(backward)
        else:
            backward()
            optimizer.step()


@pytest.fixture(params=["compact", "whole"])
def compact(request, monkeypatch):
    """The optimiser's step at active places alone, or of the whole weight."""
    monkeypatch.setattr(execution, "COMPACT_FROM", 0 if request.param == "compact" else 10**9)


@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize("method", MASKED)
def test_equals_masked_execution(method, preset, monkeypatch):
    made = {}
    for how, kind in (("masked", "masked"), ("compact", "sparse"), ("whole", "sparse")):
        monkeypatch.setattr(execution, "COMPACT_FROM", 0 if how == "compact" else 10**9)
        model = network()
        optimizer, sparsifier = attach(model, kind, method=method, preset=preset)
        train(model, optimizer, range(200 if preset == "repro2021" else 60))
        made[how] = model, sparsifier
    masked, sparsifier = made.pop("masked")
    for model, other in made.values():
        for name, mask in sparsifier.masks.items():
            assert torch.equal(mask, other.masks[name])
            assert not model.get_parameter(name)[~mask].any()
        for a, b in zip(masked.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loop", [{"clip": 0.01}, {"parts": 3}, {"closure": True}], ids=str)
def test_equals_it_in_any_loop(optimizer, loop, compact):
    models = []
    for how in ("masked", "sparse"):
        models.append(network())
        made, _ = attach(models[-1], how, optimizer=optimizer)
        train(models[-1], made, range(60), **loop)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    lead=st.lists(st.integers(1, 3), max_size=2),
    density=st.floats(0.05, 1),
    bias=st.booleans(),
    dense=st.booleans(),
    columns=st.booleans(),
    tile=st.sampled_from((2, 512)),
    seed=st.integers(0, 99),
)
def test_gradients(shape, lead, density, bias, dense, columns, tile, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=generator) < density
    if not mask.any():
        mask[0, 0] = True
    layer = nn.Linear(shape[1], shape[0], bias=bias).double()
    nn.init.normal_(layer.weight, generator=generator)
    x = torch.randn(*lead, shape[1], generator=generator, dtype=torch.float64, requires_grad=True)
    # Of the kernels alone: a Sparsifier would want an optimizer.
    scattered = {"gradient": lambda s, p, v: p.scatter(v, mask * 0.0)}
    wanted = type("Layer", (), {"wants_dense": dense, "feeds_sparse": lambda s, rows: columns, **scattered})()
    pattern = Pattern.of(mask)
    mask = mask.double()

    def product(x, weight, bias):
        if columns:
            x = x.view(-1, shape[1]).t().contiguous().t().view(x.shape)
        return _SparseLinear.apply(x, weight, bias, wanted, pattern)

    with mock.patch.object(execution, "TILE", tile):
        result = product(x, layer.weight, layer.bias)
        torch.testing.assert_close(result, F.linear(x, layer.weight * mask, layer.bias))
        if not dense:
            assert torch.autograd.gradcheck(product, (x, layer.weight, layer.bias))
        else:
            upstream = torch.randn(result.shape, generator=generator, dtype=torch.float64)
            (found,) = torch.autograd.grad(result, layer.weight, upstream)
            expected = upstream.reshape(-1, shape[0]).t() @ x.detach().reshape(-1, shape[1])
            torch.testing.assert_close(found, expected)


def test_results_can_be_written_to_in_place():
    models = []
    for how, inplace in (("masked", False), ("sparse", True)):
        models.append(network())
        models[-1][1] = nn.ReLU(inplace=inplace)
        optimizer, _ = attach(models[-1], how)
        for step in range(15):
            optimizer.zero_grad()
            result = models[-1](batch(step)[0])
            result += 1
            result.pow(2).mean().backward()
            optimizer.step()
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_only_between_layers_of_a_sequential_are_results_stored_by_columns():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.then = nn.Linear(12, 12), nn.Linear(12, 12)
            self.chain = nn.Sequential(
                *(nn.Linear(12, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 12), nn.Softmax(1)),
                *(nn.Linear(12, 12), nn.Linear(12, 5)),
            )

        def forward(self, x):
            return self.chain(self.then(self.first(x)))

    model, by_columns = Twice().double(), set()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = Sparsifier(
        *(model, optimizer), method="static", density=0.3, total_steps=10, execution="sparse"
    )
    twin, made = copy.deepcopy((model, optimizer, sparsifier))[0], {}

    def note(name, tensor):
        made[name] = tensor
        if not tensor.is_contiguous():
            by_columns.add(name)

    for name, module in twin.named_modules():
        module.register_forward_hook(lambda module, args, out, name=name: note(name, out))
        module.register_full_backward_hook(lambda module, into, out, name=name: note(f"to {name}", out[0]))
    x = batch(0)[0].requires_grad_()
    twin(x).pow(2).sum().backward()
    assert by_columns == {
        *("chain.0", "chain.1", "chain.2", "chain.5"),
        *("to chain.0", "to chain.1", "to chain.2", "to chain.5"),
    }
    assert x.grad.is_contiguous()
    assert all(made[name].view(-1).numel() for name in ("first", "then", "chain.3", "chain.6"))


def test_gradients_are_dense_when_the_method_wants_them():
    model = network()
    optimizer, sparsifier = attach(model, "sparse")
    inactive = ~sparsifier.masks["0.weight"]
    for step in range(20):
        due = sparsifier.update_due
        optimizer.zero_grad()
        x, y = batch(step)
        F.cross_entropy(model(x), y).backward()
        assert bool(model[0].weight.grad[inactive].any()) is due
        optimizer.step()
        inactive = ~sparsifier.masks["0.weight"]


def test_own_scores_see_dense_gradients():
    def mine(weight, state, generator):
        return None if weight.grad is None else weight.grad.abs()

    masks = []
    for how in ("masked", "sparse"):
        model = network()
        optimizer, sparsifier = attach(model, how, method=Method("mine", grow=mine))
        train(model, optimizer, range(50))
        masks.append(sparsifier.masks)
    assert all(torch.equal(mask, masks[1][name]) for name, mask in masks[0].items())


def test_gradients_kept_by_hand_stay():
    """A layer's gradients may lie in the same memory, but not while somebody holds the last one."""
    model = network()
    _, sparsifier = attach(model, "sparse", method="static")
    kept = []
    for step in range(3):
        model.zero_grad()
        x, y = batch(step)
        F.cross_entropy(model(x), y).backward()
        kept.append((model[0].weight.grad, model[0].weight.grad.clone()))
    for gradient, copied in kept:
        assert torch.equal(gradient, copied)
    kept.clear()
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    model[0].weight.grad.add_(1)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    assert not model[0].weight.grad[~sparsifier.masks["0.weight"]].any()


def test_what_is_written_to_a_weight_is_masked(compact):
    model = network()
    optimizer, sparsifier = attach(model, "sparse", method="static")
    train(model, optimizer, range(5))
    with torch.no_grad():
        model[0].weight.add_(1)
    train(model, optimizer, range(1))
    assert not model[0].weight[~sparsifier.masks["0.weight"]].any()


def test_a_later_hook_still_sees_gradients(monkeypatch):
    """And what it does to them counts: the step at active places waits for no one, so it is not taken."""
    monkeypatch.setattr(execution, "COMPACT_FROM", 0)
    models = []
    for how in ("masked", "sparse"):
        models.append(network())
        optimizer, _ = attach(models[-1], how)

        def halve(optimizer, args, kwargs, model=models[-1]):
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(0.5)

        optimizer.register_step_pre_hook(halve)
        train(models[-1], optimizer, range(30))
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies(how, compact):
    def copied(value):
        return copy.deepcopy(value) if how == "deepcopy" else pickle.loads(pickle.dumps(value))

    model = network()
    optimizer, sparsifier = attach(model, "sparse")
    train(model, optimizer, range(15))
    alone, _ = copied((model, optimizer))
    assert type(alone[0].forward).__name__ == "method"
    twin, other, sparse = copied((model, optimizer, sparsifier))
    assert "sparse" in sparse.summary()
    train(model, optimizer, range(15, 40))
    train(twin, other, range(15, 40))
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(alone(batch(0)[0]).shape, twin(batch(0)[0]).shape)


def test_resumes_bit_for_bit(compact):
    model = network()
    optimizer, sparsifier = attach(model, "sparse")
    train(model, optimizer, range(25))
    state = copy.deepcopy([each.state_dict() for each in (model, optimizer, sparsifier)])
    train(model, optimizer, range(25, 50))
    again = network()
    other, sparse = attach(again, "sparse")
    for each, saved in zip((again, other, sparse), state, strict=True):
        each.load_state_dict(saved)
    train(again, other, range(25, 50))
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_cannot_be_sparse_stays_masked():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 4, 3)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.linear = nn.Linear(8, 8)
            self.full = nn.Linear(8, 8)

        def forward(self, x):
            x = self.attention(x, x, x)[0]
            return self.conv(self.full(self.linear(x)))

    model = Mixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    layers = {name: 0.2 for name, p in model.named_parameters() if p.ndim > 1}
    layers["full.weight"] = 1.0
    sparsifier = Sparsifier(
        model, optimizer, method="static", distribution=layers, total_steps=10, execution="sparse"
    )
    x = torch.randn(2, 4, 8)
    model(x).sum().backward()
    optimizer.step()
    lines = {line.split()[0]: line.split(maxsplit=5)[-1] for line in sparsifier.summary().splitlines()[2:-1]}
    assert lines["conv.weight"] == "masked (Conv1d)"
    assert lines["attention.in_proj_weight"] == "masked (MultiheadAttention)"
    assert lines["attention.out_proj.weight"] == "masked (fused projection)"
    assert lines["linear.weight"] == "sparse"
    assert lines["full.weight"] == "masked"
    with torch.autocast("cpu", torch.bfloat16):
        model(x)
    assert "linear.weight" in sparsifier.summary()
    assert "masked (autocast)" in sparsifier.summary()
    sparsifier.detach()
    assert "forward" not in model.linear.__dict__


def test_compiled_models_stay_masked():
    model = network()
    attach(model, "sparse")
    x = batch(0)[0]
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


def test_auto_goes_by_size_and_density(monkeypatch):
    wide, narrow = nn.Linear(1024, 1024), nn.Linear(16, 16)
    model = nn.Sequential(wide, nn.ReLU(), nn.Linear(1024, 16), narrow)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks = {"0.weight": 0.02, "2.weight": 0.9, "3.weight": 0.02}
    sparsifier = Sparsifier(
        model, optimizer, method="static", distribution=masks, total_steps=10, execution="auto"
    )

    def layers(rows):
        model(torch.randn(rows, 1024)).sum().backward()
        return [line.split(maxsplit=5)[-1] for line in sparsifier.summary().splitlines()[2:-1]]

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert layers(64) == ["sparse", "masked", "masked (small batch)"]
    assert layers(16) == ["masked (small batch)", "masked", "masked (small batch)"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert layers(64) == ["masked (small batch)", "masked", "masked (small batch)"]
    assert layers(128) == ["sparse", "masked", "masked (small batch)"]
    assert wide.weight.numel() >= COMPACT_FROM
    assert worthwhile(1024, 512 * 1024)
    assert not worthwhile(64 * 1024, 512 * 1024)


def test_bad_values(monkeypatch):
    model = network()
    with pytest.raises(ValueError, match="execution='fast' is unknown: choose one of masked, sparse, auto"):
        attach(model, "fast")
    monkeypatch.setattr(execution, "unavailable", lambda: "no MKL")
    with pytest.raises(ValueError, match="execution='sparse' is not possible with this torch"):
        attach(model, "sparse")
    _, sparsifier = attach(model, "auto")
    assert "masked (no MKL)" in sparsifier.summary()
