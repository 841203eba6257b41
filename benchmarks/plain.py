"""A plain training loop as the baseline: eager, float32, torch's defaults."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.timing import Step, Subject, ratio, spread, times
from rigl.training.config import DATASETS
from rigl.training.devices import keep_freed_memory
from rigl.training.models import build


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as in torchvision's data sets: PIL images, transformed one by one."""

    def __init__(self, x: Tensor, y: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.x, self.y = x.numpy(), y.tolist()
        self.change = v2.Compose(
            [
                v2.ToPILImage(),
                v2.RandomCrop(x.shape[1], padding=4, padding_mode="reflect"),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(mean), list(std)),
            ]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(self.x[index]), self.y[index]


def measure(
    device: torch.device, *, model: str, rounds: int, batch: int, steps: int, engine: str = "eager"
) -> dict[str, Any]:
    """A step of the engine against one of the plain loop, on a fixed batch; and `steps` of each including
    data loading, which for the plain loop is torchvision's PIL pipeline in worker processes, as in the
    published code. Captured steps are timed as an epoch."""
    ours = Subject(device, model=model, batch=batch, steps=steps, engine=engine)
    facts, images = DATASETS[ours.run.config.dataset], ours.images
    take, plain_x = _taker(model, device), ours.x.contiguous()
    workers = min(8, torch.get_num_threads())
    loader = DataLoader(
        Pictures(images.x.cpu(), images.y.cpu(), facts.mean, facts.std),
        batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )

    def pictures() -> None:
        for some, labels in loader:
            take(some.to(device, non_blocking=True), labels.to(device, non_blocking=True))

    variants: dict[str, Step] = {"plain loop": lambda: take(plain_x, ours.y), "dense": ours.timed}
    both = device.type == "cpu" and ours.run.precision == "bf16"
    if both:
        variants["dense, float32"] = Subject(device, model=model, batch=batch, precision="float32").step
    found = times(variants, rounds, device)
    found["dense"] = ours.per_step(found["dense"])
    exact = "dense in float32 against the plain loop, images a second"
    more = {exact: ratio(found["plain loop"], found["dense, float32"])} if both else {}
    whole = times({"plain loop": pictures, "dense": ours.epoch}, min(rounds, 3), device)
    each = {name: [seconds / steps for seconds in values] for name, values in whole.items()}
    return {
        "seconds": {
            "plain loop": spread(found["plain loop"]),
            "plain loop with PIL batches": spread(each["plain loop"]),
        },
        "ratios": {
            "dense against the plain loop, images a second": ratio(found["plain loop"], found["dense"]),
            **more,
            "dense against the plain loop with PIL batches": ratio(each["plain loop"], each["dense"]),
        },
        "images_per_second": {
            "plain loop": batch / median(each["plain loop"]),
            "dense": batch / median(found["dense"]),
        },
        "loader_workers": workers,
    }


def _taker(model: str, device: torch.device) -> Any:
    torch.manual_seed(0)
    network: nn.Module = build(model, 100 if model == "resnet-50" else 10, dropout=0.3).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def take(x: Tensor, y: Tensor) -> None:
        # Undo the engine's settings of cuDNN and malloc.
        cudnn = torch.backends.cudnn
        with cudnn.flags(
            enabled=cudnn.enabled, deterministic=False, benchmark=False, allow_tf32=cudnn.allow_tf32
        ):
            keep_freed_memory(False)
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            keep_freed_memory(device.type == "cpu")

    return take
