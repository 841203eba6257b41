"""Mistakes of the published implementations, one test each: none of them may come back here.

Where it says so, a test first makes the mistake itself, to show that it would see it.
"""

import copy
from math import isfinite

import numpy as np
import pytest
import torch
from torch import nn

from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.layers import describe
from rigl.sparsity.methods import METHODS
from rigl.sparsity.sparsifier import Sparsifier
from rigl.training import records
from rigl.training.config import RunConfig
from rigl.training.engine import Engine
from rigl.training.models import build
from rigl.training.run import build_run
from rigl.training.train import flops_of

GROWING = [name for name, method in METHODS.items() if method.grow]
RUN = {"model": "wrn-10-1", "dropout": 0.3, "epochs": 2, "delta_t": 5}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 30), nn.Linear(30, 5)
    )


def attach(model, method, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"density": 0.3, "total_steps": 400, "delta_t": 2, **options}
    if METHODS[method].source:
        options.setdefault("masks", attach(copy.deepcopy(model), "static")[1].masks)
    return optimizer, Sparsifier(model, optimizer, method=method, **options)


def counts(sparsifier):
    return [int(mask.sum()) for mask in sparsifier.masks.values()]


@pytest.mark.parametrize(("method", "source"), [("lottery", "pruning"), ("rigl-reinit", "rigl-sm")])
def test_masks_are_not_lost_on_load(tmp_path, method, source):
    """The published code saves masks under one name and looks for another: its lottery and re-init runs
    start from fresh random masks, without a word."""
    model = network()
    optimizer, trained = attach(model, source, total_steps=40)
    for step in range(40):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    config = RunConfig(method=source)
    records.save_masks({name: mask.numpy() for name, mask in trained.masks.items()}, config, tmp_path)
    found = records.load_masks(config, tmp_path)
    found = {name: torch.from_numpy(mask) for name, mask in found.items()}

    fresh = network()
    _, started = attach(fresh, method, masks=found)
    assert all(torch.equal(started.masks[name], mask) for name, mask in trained.masks.items())
    for (name, weight), start in zip(fresh.named_parameters(), network().parameters(), strict=True):
        assert torch.equal(weight, start * found.get(name, 1))
    # and a state that is loaded takes the place of what was drawn
    _, other = attach(network(), source, seed=5)
    other.load_state_dict(trained.state_dict())
    assert all(torch.equal(other.masks[name], mask) for name, mask in trained.masks.items())
    with pytest.raises(ValueError, match="the state has no"):
        other.load_state_dict({"method": source, "mask": trained.masks})
    with pytest.raises(ValueError, match="give its masks"):
        attach(network(), method, masks=None)


def states(run):
    tensors = [*run.model.state_dict().values(), *run.sparsifier.masks.values()]
    tensors += [state["momentum_buffer"] for state in run.optimizer.state.values()]
    return [tensor.double() for tensor in tensors]


@pytest.mark.parametrize("forgotten", ["nothing", "optimizer", "sparsifier", "model"])
def test_a_resume_takes_up_optimiser_and_schedule(forgotten):
    """The published code resumes weights alone: momentum starts at 0, learning rate and drop fraction
    start anew. Forgetting any one of the parts changes what comes out, so the test would see it."""
    config = RunConfig(method="rigl", **RUN)
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, 1, 8, 8, generator=generator), torch.arange(8)) for _ in range(20)]

    def steps(run, some):
        for index, (x, y) in some:
            engine = Engine(run)
            engine.noise.manual_seed(index)  # for dropout
            with engine:
                engine.step(x, y)

    straight = build_run(config, torch.device("cpu"))
    steps(straight, enumerate(batches[:12]))
    saved = copy.deepcopy(straight.state_dict())
    steps(straight, enumerate(batches[12:]))

    resumed = build_run(config, torch.device("cpu"))
    if forgotten != "nothing":
        saved[forgotten] = copy.deepcopy(resumed.state_dict())[forgotten]
    resumed.load_state_dict(saved)
    rates = {group["lr"] for group in resumed.optimizer.param_groups}
    steps(resumed, enumerate(batches[12:]))
    same = all(
        torch.equal(mine, theirs) for mine, theirs in zip(states(resumed), states(straight), strict=True)
    )
    assert same == (forgotten == "nothing")
    if same:
        assert rates == {config.learning_rate}
        assert resumed.sparsifier.step_count == straight.sparsifier.step_count == 20
        assert resumed.ledger == straight.ledger


def test_counting_flops_touches_nothing():
    """The published code counts FLOPs by a forward pass in training mode on noise, just before it
    evaluates: batch-norm statistics move, random numbers are drawn, hooks stay behind."""
    run = build_run(RunConfig(method="snfs", **RUN), torch.device("cpu"))
    model = run.model.train()
    Engine(run).step(torch.randn(8, 1, 8, 8), torch.arange(8))
    model.stem.eval()  # a mode of its own
    modes = [module.training for module in model.modules()]
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]

    def looked_at():
        assert [module.training for module in model.modules()] == modes
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        assert not any(getattr(module, kind) for module in model.modules() for kind in hooks)
        return torch.equal(torch.get_rng_state(), random) and all(
            torch.equal(before[name], value) for name, value in model.state_dict().items()
        )

    dense = forward_flops(describe(model, (1, 8, 8)))
    assert 0 < run.forward_flops() < dense
    run.count_step()
    assert flops_of(run, None).counted > 0
    budget = {"flops": 0.3, "input_shape": (1, 8, 8), "total_steps": 9}
    again = copy.deepcopy(model)
    Sparsifier(again, torch.optim.SGD(again.parameters()), method="static", **budget)
    assert again.training
    assert all(torch.equal(before[name], value) for name, value in again.named_buffers())
    assert looked_at()
    with torch.no_grad():
        model(torch.randn(8, 1, 8, 8))  # what the published code does
    assert not looked_at()


@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, float("nan"), float("inf")])
@pytest.mark.parametrize("method", GROWING)
def test_ties_in_growing_lose_no_weight(method, value, preset):
    """The published code keeps what is above a threshold: where gradients or magnitudes are all equal,
    as in a dead layer, nothing grows or everything does."""
    model = network() if method != "rigl-struct" else nn.Sequential(nn.Linear(9, 30), nn.Linear(30, 5))
    optimizer, sparsifier = attach(model, method, preset=preset, density=0.5)
    with torch.no_grad():
        for name, mask in sparsifier.masks.items():
            model.get_parameter(name).copy_(0.5 * mask)
    first = counts(sparsifier)
    for step in range(13):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value if step % 2 else 0.1)
        optimizer.step()
        assert sum(counts(sparsifier)) == sum(first)
        assert METHODS[method].share or counts(sparsifier) == first
    # An update whose gradients are not finite is left out.
    assert sparsifier.update_count >= (4 if isfinite(value) or method == "set" else 0)


def test_sets_count_does_not_drift():
    """The published code grows each inactive position with a probability, and draws each weight of the
    first mask by a coin toss, so that the number of active weights walks away from its target."""
    toss = np.random.default_rng(0).random((200, 960)) < 0.3
    assert len(set(toss.sum(1))) > 50  # the mistake
    for seed in range(3):
        model = network()
        optimizer, sparsifier = attach(model, "set", seed=seed)
        densities = layer_densities(describe(model), 0.3, "erk")
        expected = [round(densities[layer.name] * layer.numel) for layer in describe(model)]
        for step in range(300):
            assert counts(sparsifier) == expected
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
            optimizer.step()
        assert sparsifier.update_count == 150


@pytest.mark.parametrize("density", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("name", ["wrn-22-2", "resnet-50", "lenet-300-100"])
def test_erk_meets_its_target_where_layers_are_capped(name, density):
    """Published code clips what would be above 1 and leaves it at that: the network comes out sparser
    than asked for. Here what a full layer cannot take goes to the others."""
    with torch.device("meta"):
        layers = describe(build(name, 10, input_shape=(3, 32, 32)))
    sizes = {layer.name: layer.numel for layer in layers}
    total = sum(sizes.values())
    raw = {layer.name: sum(layer.shape) / layer.numel for layer in layers}
    scale = density * total / sum(raw[name] * size for name, size in sizes.items())
    clipped = sum(min(1.0, scale * raw[name]) * size for name, size in sizes.items()) / total
    found = layer_densities(layers, density, "erk")
    assert max(found.values()) == 1
    assert min(found.values()) > 0
    assert clipped < density - 1e-4  # the mistake
    active = sum(round(found[name] * size) for name, size in sizes.items())
    assert abs(active - density * total) <= len(layers) / 2


@pytest.mark.parametrize("method", ["static", "set", "rigl"])
def test_a_method_obeys_the_distribution_it_is_asked_for(method):
    """The published CIFAR-10 target of "Static" ignores it."""
    found = []
    for distribution in ("uniform", "er", "erk"):
        _, sparsifier = attach(network(), method, distribution=distribution)
        expected = layer_densities(describe(network()), 0.3, distribution)
        assert sparsifier.densities == pytest.approx(expected, abs=0.01)
        found.append(tuple(counts(sparsifier)))
    assert len(set(found)) == 3
