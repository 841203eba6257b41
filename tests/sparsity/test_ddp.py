"""Two processes with half the batch each move their masks like one with all of it."""

import pytest
import torch
from gloo import two_processes
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from rigl.sparsity.methods import METHODS
from rigl.sparsity.sparsifier import Sparsifier

STEPS = 20
MOVING = [name for name, method in METHODS.items() if method.grow or method.prunes]


def train(rank, world, method, execution="masked"):
    """Masks, step by step, of `STEPS` steps of `method`, an update every other one, in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 12), nn.Tanh(), nn.Linear(12, 4)
    ).double()
    network = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    masks = {name: torch.rand(p.shape) < 0.3 for name, p in model.named_parameters() if p.ndim > 1}
    sparsifier = Sparsifier(
        model,
        optimizer,
        method=method,
        density=0.3,
        masks=masks if METHODS[method].source else None,
        total_steps=STEPS,
        delta_t=2,
        t_end=1.0,
        execution=execution,
    )
    generator = torch.Generator().manual_seed(1)
    history = []
    for _ in range(STEPS):
        x = torch.randn(16, 20, generator=generator, dtype=torch.float64)
        y = torch.randint(0, 4, (16,), generator=generator)
        mine = slice(rank * 16 // world, (rank + 1) * 16 // world)
        optimizer.zero_grad()
        F.cross_entropy(network(x[mine]), y[mine]).backward()
        optimizer.step()
        history.append(torch.cat([mask.flatten() for mask in sparsifier.masks.values()]))
    assert sparsifier.update_count == STEPS // 2
    return torch.stack(history)


def work(rank, folder):
    for method in MOVING:
        torch.save(train(rank, 2, method), folder / f"{method}-{rank}.pt")
    torch.save(train(rank, 2, "rigl", "sparse"), folder / f"sparse-{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder of what each of two processes came to, one method after the other."""
    folder = tmp_path_factory.mktemp("ranks")
    two_processes(work, folder)
    return folder


@pytest.mark.parametrize("method", MOVING)
def test_two_ranks_equal_one_process(ranks, method):
    alone = train(0, 1, method)
    moves = int((alone[1:] != alone[:-1]).any(1).sum())
    assert moves >= 8, "a mask that stays would prove nothing"
    for rank in (0, 1):
        assert torch.equal(torch.load(ranks / f"{method}-{rank}.pt", weights_only=True), alone)


def test_so_they_do_under_sparse_execution(ranks):
    alone = train(0, 1, "rigl")
    for rank in (0, 1):
        assert torch.equal(torch.load(ranks / f"sparse-{rank}.pt", weights_only=True), alone)
