"""Two processes with half the batch each move their masks like one with all of it."""

import socket

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from rigl.sparsifier import Sparsifier

STEPS = 50


def train(rank, world, method):
    """Masks after `STEPS` steps of `method`, an update every other one, in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4)).double()
    network = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    sparsifier = Sparsifier(
        model, optimizer, method=method, density=0.3, total_steps=STEPS, delta_t=2, t_end=1.0
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(16, 20, generator=generator, dtype=torch.float64)
        y = torch.randint(0, 4, (16,), generator=generator)
        mine = slice(rank * 16 // world, (rank + 1) * 16 // world)
        optimizer.zero_grad()
        F.cross_entropy(network(x[mine]), y[mine]).backward()
        optimizer.step()
    assert sparsifier.update_count == STEPS // 2
    return {name: mask.clone() for name, mask in sparsifier.masks.items()}


def worker(rank, world, port, method, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    torch.save(train(rank, world, method), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("method", ["set", "rigl"])
def test_two_ranks_equal_one_process(tmp_path, method):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(worker, (2, port, method, tmp_path), nprocs=2)
    alone = train(0, 1, method)
    for rank in (0, 1):
        masks = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.equal(masks[name], mask) for name, mask in alone.items())
