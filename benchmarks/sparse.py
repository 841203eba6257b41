"""What sparse execution gains: training steps, inference, files and memory, and where it begins to gain."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import ratio, spread, times
from rigl.sparsity.compaction import compact
from rigl.sparsity.execution import worthwhile
from rigl.sparsity.sparse_models import save_sparse, sparse_inference
from rigl.sparsity.sparsifier import Sparsifier
from rigl.training.config import RunConfig

DELTA_T = 100
DENSITIES = (0.1, 0.05, 0.02)
SHOWN = 0.05  # density of the table of models
BATCH = 128  # of one layer alone
CPU = torch.device("cpu")


class Attention(nn.Module):
    """Projections that are layers of their own, so that they can be sparse."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        each = (layer(x).view(batch, length, self.heads, -1) for layer in (self.query, self.key, self.value))
        query, key, value = (part.transpose(1, 2) for part in each)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Encoder(nn.Module):
    """Six layers on a sequence of bytes."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        width = max(8, int(512 * factor) // 8 * 8)
        self.embedding = nn.Embedding(256, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(6)))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.embedding(x)).mean(1))
        return out


def perceptron(*widths: int) -> Callable[[float], nn.Module]:
    """Made of linear layers, with its hidden widths times a factor."""

    def make(factor: float) -> nn.Module:
        sizes = [widths[0], *(max(1, int(width * factor)) for width in widths[1:-1]), widths[-1]]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return make


def images(*shape: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """A drawer of batches from bytes in memory, normalised as they are drawn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (4096, *shape), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 10, (4096,), generator=generator)

    def draw(size: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(0, 4096, (size,), generator=generator)
        return (x[rows].float() - 127.5) / 127.5, y[rows]

    return draw


def sequences(length: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """A drawer of sequences of bytes."""
    generator = torch.Generator().manual_seed(0)

    def draw(size: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(0, 256, (size, length), generator=generator)
        return x, torch.randint(0, 10, (size,), generator=generator)

    return draw


# How a network of some width is made, batches are drawn, and how large they are.
Network = tuple[Callable[[float], nn.Module], Callable[[int], tuple[Tensor, Tensor]], int]
NETWORKS: dict[str, Network] = {
    "LeNet-300-100": (perceptron(784, 300, 100, 10), images(784), 128),
    "MLP 3072-2048-2048-10": (perceptron(3072, 2048, 2048, 10), images(3072), 128),
    "Transformer encoder": (Encoder, sequences(64), 32),
    "ResNet-50's head": (perceptron(2048, 100), images(2048), 128),
}
# Method, execution and density of what trains.
Variant = tuple[str, str, float]
DENSE: Variant = ("dense", "masked", 1.0)


class Training:
    """Whole training steps of one network: data, forward, backward, optimiser, and updates of the masks."""

    def __init__(self, network: str, variant: Variant) -> None:
        method, execution, density = variant
        make, self.draw, self.size = NETWORKS[network]
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.model = make(narrowed(make, density) if method == "small-dense" else 1.0)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
        )
        self.sparsifier = Sparsifier(
            self.model,
            self.optimizer,
            method=method,
            density=density,
            total_steps=1000 * DELTA_T,
            delta_t=DELTA_T,
            execution=execution,
        )

    def step(self, count: int = 0) -> None:
        self.sparsifier.step_count = count
        x, y = self.draw(self.size)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def update(self) -> None:
        """A step that updates the masks, and the next, which computes by the new ones."""
        self.step(DELTA_T - 1)
        self.step()


def narrowed(make: Callable[[float], nn.Module], density: float) -> float:
    """The factor of all hidden widths at which a network has at most `density` of its weights."""

    def weights(factor: float) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in make(factor).parameters() if p.dim() > 1)

    most = density * weights(1.0)
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle) <= most else (low, middle)
    return low


def training(network: str, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Seconds of a training step, updates included, and how many times faster than dense it is."""
    variants: list[Variant] = [DENSE, ("small-dense", "masked", SHOWN), ("rigl", "masked", SHOWN)]
    variants += [("rigl", how, density) for density in DENSITIES for how in ("sparse", "auto")]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        subjects = {variant: Training(network, variant) for variant in variants}
        # Small steps in dozens: of one alone the clock would see little but its surroundings.
        repeat = max(1, 2**22 // sum(p.numel() for p in subjects[DENSE].model.parameters()))

        def some(subject: Training) -> None:
            for _ in range(repeat):
                subject.step()

        steps: dict[str, Callable[[], object]] = {}
        for variant, subject in subjects.items():
            steps[f"{variant}"] = lambda subject=subject: some(subject)  # type: ignore[misc]
            if subject.sparsifier.method.moves:
                steps[f"{variant} update"] = subject.update
        found = times(steps, rounds, CPU)
    finally:
        torch.set_num_threads(before)
    rows, each = [], {}
    for variant in variants:
        plain = [seconds / repeat for seconds in found[f"{variant}"]]
        pairs = found.get(f"{variant} update", [2 * seconds for seconds in plain])
        each[variant] = [
            ((DELTA_T - 2) * one + pair) / DELTA_T for one, pair in zip(plain, pairs, strict=True)
        ]
        method, execution, density = variant
        rows.append(
            {
                **{"network": network, "threads": threads, "rounds": rounds, "method": method},
                **{"execution": execution, "density": density, "seconds": spread(each[variant])},
                "faster": ratio(each[DENSE], each[variant]),
            }
        )
    return rows


MEMORY = """
import sys, torch
from benchmarks.sparse import Training
from rigl.training import provenance
torch.set_num_threads(2)
before = provenance.peak_memory(torch.device("cpu"))
subject = Training(sys.argv[1], (sys.argv[2], sys.argv[3], float(sys.argv[4])))
for _ in range(3):
    subject.step()
print(provenance.peak_memory(torch.device("cpu")) - before)
"""


def memory(network: str) -> list[dict[str, Any]]:
    """Bytes that a process takes for model and training, over what it has before."""
    rows = []
    for variant in (DENSE, ("rigl", "masked", SHOWN), ("rigl", "sparse", SHOWN)):
        command = [sys.executable, "-W", "ignore", "-c", MEMORY, network, *map(str, variant)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        method, execution, density = variant
        kind = {"network": network, "method": method, "execution": execution, "density": density}
        rows.append({**kind, "bytes": int(done.stdout.split()[-1])})
    return rows


def models(network: str, rounds: int) -> list[dict[str, Any]]:
    """File size, memory of parameters and buffers, and latency of a network's forms, on all threads."""
    make, draw, _ = NETWORKS[network]
    forms: dict[str, nn.Module] = {"dense": make(1.0)}
    several = len(list(forms["dense"].parameters())) > 2  # else there is no width between layers to reduce
    if several:
        forms["small-dense"] = make(narrowed(make, SHOWN))
    forms["masked"] = Training(network, ("static", "masked", SHOWN)).model
    forms["sparse"] = sparse_inference(forms["masked"], density=0.2)
    if several and not isinstance(forms["dense"], Encoder):
        struct = Training(network, ("rigl-struct", "masked", SHOWN))
        forms["compacted"] = compact(struct.model, tuple(draw(1)[0].shape[1:]))
    steps: dict[str, Callable[[], object]] = {}
    with torch.no_grad():
        for name, model in forms.items():
            model.eval()
            for size in (1, 256):
                x, _ = draw(size)
                repeat = 20 if size == 1 else 1
                steps[f"{name} {size}"] = lambda model=model, x=x, n=repeat: [model(x) for _ in range(n)]  # type: ignore[misc]
        found = times(steps, rounds, CPU)
    rows = []
    for name, model in forms.items():
        state = (model if name != "sparse" else forms["sparse"]).state_dict().values()
        rows.append(
            {
                **{"network": network, "form": name, "density": 1.0 if name == "dense" else SHOWN},
                "threads": torch.get_num_threads(),
                "file": _file(forms["masked"] if name == "sparse" else model, name == "sparse"),
                "memory": sum(tensor.nbytes for tensor in state),
                "latency_1": spread([seconds / 20 for seconds in found[f"{name} 1"]]),
                "latency_256": spread(found[f"{name} 256"]),
            }
        )
    return rows


def _file(model: nn.Module, sparse: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        if sparse:
            save_sparse(model, path)
        else:
            torch.save(model.state_dict(), path)
        return path.stat().st_size


def crossovers(rounds: int, shapes: Mapping[str, tuple[int, int]] | None = None) -> list[dict[str, Any]]:
    """One layer's training step at batch 128, masked over sparse, on one thread: above 1 sparse is faster."""
    shapes = shapes or {"32": (32, 256), "100": (100, 300), "300": (300, 784), "1024": (1024, 1024)}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        for height, width in shapes.values():
            for density in (0.2, *DENSITIES):
                steps: dict[str, Callable[[], object]] = {}
                for how in ("masked", "sparse"):
                    steps[how] = _layer(height, width, density, how)
                found = times(steps, rounds, CPU)
                size = height * width
                rows.append(
                    {
                        **{"shape": [height, width], "density": density},
                        "faster": ratio(found["masked"], found["sparse"]),
                        "auto": "sparse" if worthwhile(round(density * size), size, BATCH) else "masked",
                    }
                )
    finally:
        torch.set_num_threads(before)
    return rows


def _layer(height: int, width: int, density: float, execution: str) -> Callable[[], object]:
    torch.manual_seed(0)
    layer = nn.Linear(width, height)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, fused=True)
    options = {"method": "static", "density": density, "total_steps": 10**6}
    Sparsifier(layer, optimizer, execution=execution, **options)  # type: ignore[arg-type]
    x = torch.randn(BATCH, width, requires_grad=True)
    repeat = max(1, 2**20 // (height * width))

    def step() -> None:
        for _ in range(repeat):
            optimizer.zero_grad()
            x.grad = None
            layer(x).square().mean().backward()
            optimizer.step()

    return step


def measure(parts: list[str], rounds: int, quick: bool = False) -> dict[str, Any]:
    """What `parts` names: networks, and ``"crossovers"``."""
    found: dict[str, list[dict[str, Any]]] = {"training": [], "memory": [], "models": [], "crossovers": []}
    for part in parts:
        if part == "crossovers":
            found["crossovers"] += crossovers(rounds, {"32": (32, 256)} if quick else None)
            continue
        if "head" not in part:
            for threads in {1, torch.get_num_threads()} if "Transformer" not in part else {2}:
                found["training"] += training(part, rounds, threads)
            found["memory"] += [] if quick else memory(part)
        found["models"] += models(part, rounds)
    return found


def race() -> list[RunConfig]:
    """The runs that are compared by accuracy and seconds: LeNet-300-100 on Fashion-MNIST, three seeds.

    Without convolutions a network whose widths are those of dense times the square root of a density, as in
    the report, has far more than that share of the weights: small-dense runs with as many are added.
    """
    plan: list[dict[str, Any]] = [{"method": "dense"}]
    plan += [{"method": "small-dense", "density": density} for density in DENSITIES]
    make = NETWORKS["LeNet-300-100"][0]
    plan += [
        {"method": "small-dense", "density": round(narrowed(make, density) ** 2, 5)} for density in DENSITIES
    ]
    plan += [{"method": "rigl", "density": density, "execution": "auto"} for density in DENSITIES]
    return [
        RunConfig(protocol="laptop", dataset="fashion-mnist", seed=seed, **knobs)
        for seed in range(3)
        for knobs in plan
    ]


def merged(old: Mapping[str, Any], new: Mapping[str, Any], parts: list[str]) -> dict[str, Any]:
    """What was found before, with `parts` replaced: a network is measured on its own, so that each run is
    short."""
    kept = {
        kind: [row for row in old.get(kind, ()) if row.get("network", "crossovers") not in parts]
        for kind in ("training", "memory", "models", "crossovers")
    }
    return {kind: rows + new[kind] for kind, rows in kept.items()}
