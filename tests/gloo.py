"""Two processes of one torch.distributed group, this one and another."""

import socket
from datetime import timedelta

import torch
from forked import forked
from torch import distributed


def two_processes(work, folder):
    """Call ``work(rank, folder)``, a function of a module, in both; it saves what it comes to in `folder`."""
    port = free_port()
    other = forked(_joined, work, 1, port, folder)
    _joined(work, 0, port, folder)
    other.join()
    assert other.exitcode == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _joined(work, rank, port, folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    try:
        work(rank, folder)
    finally:
        distributed.destroy_process_group()
        torch.set_num_threads(threads)
