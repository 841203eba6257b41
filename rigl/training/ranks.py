"""The processes that train one run together (``torchrun``): each takes its part of every batch."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from rigl.training.augmentation import Plan

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's place among `size`; all of them make the same calls in the same order."""

    rank: int = 0
    size: int = 1

    def first(self, do: Callable[[], T]) -> T:
        """What `do` gives on rank 0, on every rank; what it raises there is raised on all."""
        if self.size == 1:
            return do()
        box: list[Any] = [None, None]
        if self.rank == 0:
            try:
                box = [do(), None]
            except Exception as error:
                box = [None, error]
        distributed.broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        found: T = box[0]
        return found

    def share(self, plan: Plan) -> Plan:
        """This process's part of a batch: every `size`-th image."""
        return plan if self.size == 1 else plan.at(slice(self.rank, None, self.size))

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Let every process take over rank 0's `tensors`: batch norm's statistics, of which each has its own
        part's."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model` with gradients averaged over all processes."""
        if self.size == 1:
            return model
        places = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=places, broadcast_buffers=False)


ALONE = Ranks()


def join(device: torch.device) -> tuple[Ranks, torch.device]:
    """The processes that ``torchrun`` started, or that made a process group, and this one's device: of
    several GPUs, each process takes its own. One that was started otherwise is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "LOCAL_RANK" not in os.environ:
        return ALONE, device
    if device == torch.device("cuda"):
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Ranks(distributed.get_rank(), distributed.get_world_size()), device
