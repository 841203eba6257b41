"""Weights and optimiser state spread over two processes: sharded state works, sharded weights are refused."""

import pytest
import torch
import torch.distributed as dist
from gloo import two_processes
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn import functional as F

from rigl.sparsity import optimizers
from rigl.sparsity.sparsifier import Sparsifier

STEPS = 24
ZERO = ["rigl", "set", "rigl-sg", "pruning"]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(20, 30, bias=False), nn.Tanh(), nn.Linear(30, 12, bias=False), nn.Tanh(), nn.Linear(12, 4)
    ).double()


def train(method, shard):
    """Masks and weights after `STEPS` steps, whose gradients are the same in all processes."""
    model = network()
    if shard:
        optimizer = ZeroRedundancyOptimizer(
            model.parameters(), optimizer_class=torch.optim.SGD, lr=0.1, momentum=0.9
        )
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = Sparsifier(model, optimizer, method=method, density=0.3, total_steps=STEPS, delta_t=3)
    held = 0
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 20, generator=generator, dtype=torch.float64)
        y = torch.randint(0, 4, (16,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        for name, mask in sparsifier.masks.items():
            state = optimizers.tensors_of(optimizer, model.get_parameter(name))
            held += len(state)
            if method != "pruning":
                assert not any(bool(value[~mask].any()) for value in state.values())
    assert sparsifier.update_count >= 5
    return {
        **{name: p.detach().clone() for name, p in model.named_parameters()},
        **{f"mask {name}": mask for name, mask in sparsifier.masks.items()},
        "held": torch.tensor(held),
    }


def attach(model, parameters=None):
    optimizer = torch.optim.SGD(parameters or model.parameters(), lr=0.1)
    Sparsifier(model, optimizer, method="rigl", density=0.3, total_steps=100, delta_t=10)


def refusals():
    """What attaching to each set-up raises."""
    said = {}
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def of(name, make):
        try:
            make()
        except ValueError as error:
            said[name] = str(error)

    model = network()
    for method in ("rigl-sm", "snfs"):
        sharded = ZeroRedundancyOptimizer(
            model.parameters(), optimizer_class=torch.optim.SGD, lr=0.1, momentum=0.9
        )
        of(
            method,
            lambda method=method, sharded=sharded: Sparsifier(model, sharded, method=method, total_steps=9),
        )
    of("fsdp2", lambda: attach(fully_shard(network(), mesh=mesh)))
    of("tensor parallel", lambda: attach(parallelize_module(network(), mesh, {"0": ColwiseParallel()})))
    return said


class FullyShardedDataParallel(nn.Module):
    """Of the shape of torch's, which refuses to run on a CPU: parameters are flat shards, under their own
    names or not."""

    def __init__(self, module, use_orig_params):
        super().__init__()
        self.module = module
        if use_orig_params:
            for layer in module:
                if isinstance(layer, nn.Linear):
                    layer.weight = nn.Parameter(layer.weight.detach().flatten()[:100])


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_flat_shards_are_refused(original, inside):
    sharded = FullyShardedDataParallel(network(), original)
    if inside and not original:
        pytest.skip("an ordinary model")
    with pytest.raises(ValueError, match=r"flat shards.*cannot be masked.* use DistributedDataParallel"):
        attach(sharded.module if inside else sharded)


def work(rank, folder):
    found = {method: train(method, shard=True) for method in ZERO}
    torch.save({**found, "refused": refusals()}, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes came to."""
    folder = tmp_path_factory.mktemp("ranks")
    two_processes(work, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.filterwarnings("ignore:delta_t=3")
@pytest.mark.parametrize("method", ZERO)
def test_sharded_state_trains_like_a_whole_one(ranks, method):
    whole = train(method, shard=False)
    held = [rank[method].pop("held") for rank in ranks]
    assert all(held)
    assert sum(held) == whole.pop("held"), "each process keeps a part of the state"
    for rank in ranks:
        assert rank[method].keys() == whole.keys()
        assert all(torch.equal(rank[method][name], value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rigl-sm", "rigl-sm goes by momentum, and ZeroRedundancyOptimizer keeps it on one process only"),
        ("snfs", "snfs goes by momentum, and ZeroRedundancyOptimizer keeps it on one process only"),
        ("fsdp2", "0.weight is a DTensor (FSDP2 or tensor parallel)"),
        ("tensor parallel", "0.weight is a DTensor (FSDP2 or tensor parallel)"),
    ],
)
def test_what_cannot_be_masked_is_refused(ranks, name, message):
    for rank in ranks:
        assert message in rank["refused"][name]
        assert "\n" not in rank["refused"][name]
