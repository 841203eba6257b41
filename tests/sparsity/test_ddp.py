"""Two processes with half the batch each move their masks like one with all of it."""

import socket
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from rigl.sparsity.methods import METHODS
from rigl.sparsity.sparsifier import Sparsifier

STEPS = 50
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


def worker(rank, world, port, folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    try:
        for method in MOVING:
            torch.save(train(rank, world, method), folder / f"{method}-{rank}.pt")
        torch.save(train(rank, world, "rigl", "sparse"), folder / f"sparse-{rank}.pt")
    finally:
        dist.destroy_process_group()
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder of what two processes, this one and another, came to, one method after the other."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    other = multiprocessing.get_context("spawn").Process(target=worker, args=(1, 2, port, folder))
    other.start()
    worker(0, 2, port, folder)
    other.join()
    assert other.exitcode == 0
    return folder


@pytest.mark.parametrize("method", MOVING)
def test_two_ranks_equal_one_process(ranks, method):
    alone = train(0, 1, method)
    moves = int((alone[1:] != alone[:-1]).any(1).sum())
    assert moves >= 20, "a mask that stays would prove nothing"
    for rank in (0, 1):
        assert torch.equal(torch.load(ranks / f"{method}-{rank}.pt", weights_only=True), alone)


def test_so_they_do_under_sparse_execution(ranks):
    alone = train(0, 1, "rigl")
    for rank in (0, 1):
        assert torch.equal(torch.load(ranks / f"sparse-{rank}.pt", weights_only=True), alone)
