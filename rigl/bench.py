"""``python -m rigl.bench``: how fast training is here, as ratios measured side by side in one run.

Every round takes one step of each variant in turn, so that whatever else the machine does hits all alike;
a ratio is the median over rounds, with the rounds' quartiles as its spread. What a method adds to a step lies
in the optimiser's part alone and is far smaller than the noise of whole steps: it is timed by itself.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from rigl import provenance, records, training
from rigl.compaction import compact
from rigl.config import DATASETS, ConfigError, RunConfig
from rigl.data import Images, batches, data_root
from rigl.devices import device_name, resolve_device, resolve_precision
from rigl.report.project import root

Step = Callable[[], None]

SMOKE = """
from rigl import RunConfig, train
import sys
train(RunConfig(), device=sys.argv[1], results=sys.argv[2])
"""
MEMORY = """
import sys, time, torch
from rigl import provenance, training
from rigl.config import RunConfig
from rigl.data import batches, load
config = RunConfig(protocol="paper", dataset="cifar10")
device = torch.device(sys.argv[1])
begin = time.perf_counter()
dataset = load("cifar10")
seconds = time.perf_counter() - begin
dataset = dataset.to(device)
run = training._build(config, device)
part = dataset.train[:256]
generator = torch.Generator(device).manual_seed(0)
options = {"mean": dataset.mean, "std": dataset.std, "augmentation": "crop-flip", "generator": generator}
for x, y in batches(part, 128, **options):
    training._step(run, x, y)
training._evaluate(run, dataset.test[:1000], dataset)
print(seconds, provenance.peak_memory(device))
"""


def measure(device: torch.device, *, model: str, rounds: int, batch: int = 128) -> dict[str, Any]:
    """Times (s a step) and ratios of `model` on images like CIFAR-10's; no data set is needed."""
    facts = DATASETS["cifar10"]
    noise = torch.randint(0, 256, (8 * batch, 32, 32, 3), dtype=torch.uint8)
    images = Images(noise, torch.randint(0, 10, (8 * batch,))).to(device)
    generator = torch.Generator(device).manual_seed(0)

    def fetch() -> tuple[torch.Tensor, torch.Tensor]:
        return next(
            batches(
                images, batch, mean=facts.mean, std=facts.std, augmentation="crop-flip", generator=generator
            )
        )

    def fetch_often() -> None:
        for _ in range(4):
            fetch()

    x, y = fetch()
    runs = {
        method: training._build(
            RunConfig(protocol="paper", dataset="cifar10", model=model, method=method, batch_size=batch),
            device,
        )
        for method in ("dense", "rigl")
    }

    def step(method: str) -> Step:
        run = runs[method]

        def one() -> None:
            run.model.train()
            run.sparsifier.step_count = 0  # an update is timed apart
            training._step(run, x, y)

        return one

    def optimise(method: str, *, update: bool = False) -> Step:
        run = runs[method]
        # An update takes the gradients away: keep them for the next.
        kept = [(p, torch.randn_like(p)) for p in run.model.parameters()]

        def one() -> None:
            for parameter, gradient in kept:
                parameter.grad = gradient
            run.sparsifier.step_count = 99 if update else 0
            run.optimizer.step()

        return one

    whole: dict[str, Step] = {
        "plain loop": _plain(model, x, y, device),
        "dense": step("dense"),
        "RigL": step("rigl"),
        "data": fetch_often,
    }
    parts: dict[str, Step] = {
        "dense, optimiser": optimise("dense"),
        "RigL, optimiser and masks": optimise("rigl"),
        "RigL, an update": optimise("rigl", update=True),
    }
    times = _times(whole, rounds, device) | _times(parts, 5 * rounds, device)
    times["data"] = [seconds / 4 for seconds in times["data"]]
    dense = times["dense"]
    each = zip(
        times["dense, optimiser"], times["RigL, optimiser and masks"], times["RigL, an update"], strict=True
    )
    # 99 steps of 100 mask, one moves the masks instead.
    added = [(99 * between + update) / 100 - plain for plain, between, update in each]
    return {
        "seconds": {name: _spread(values) for name, values in times.items()},
        "images_per_second": {
            name: batch / median(values) for name, values in times.items() if name in ("plain loop", "dense")
        },
        "ratios": {
            "dense against the plain loop, images a second": _ratio(times["plain loop"], dense),
            "RigL against dense, a step, updates included": _spread([1 + a / median(dense) for a in added]),
            "RigL against dense, whole steps between updates": _ratio(times["RigL"], dense),
            "data and augmentation, share of a dense step": _ratio(times["data"], dense),
        },
    }


def structured(device: torch.device, *, model: str, rounds: int, batch: int = 128) -> dict[str, Any]:
    """Times and ratios of networks that really are smaller, at density 0.1: small-dense, and RigL-struct with
    its dead channels cut out under both distributions; a training step and inference against dense.

    The channels are those of the first masks, since RigL-struct keeps their number in every layer, and batch
    norms are moved off their start, as training does: constants of dead channels have to be carried along.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(device, memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), generator=generator).to(device)
    bf16 = resolve_precision("auto", device) == "bf16"
    networks: dict[str, nn.Module] = {}
    for name, knobs in {
        "dense": {"method": "dense"},
        "small-dense": {"method": "small-dense"},
        "RigL-struct, uniform": {"method": "rigl-struct", "distribution": "uniform"},
        "RigL-struct, erk": {"method": "rigl-struct", "distribution": "erk"},
    }.items():
        config = RunConfig(protocol="paper", dataset="cifar10", model=model, **knobs)
        run = training._build(config, device)
        run.sparsifier.detach()
        networks[name] = run.model
        if config.method == "rigl-struct":
            for module in run.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.bias, -0.5, 0.5)
            cut = compact(run.model, (3, 32, 32))
            networks[name] = cut.to(memory_format=torch.channels_last)

    def train(network: nn.Module) -> Step:
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)

        def one() -> None:
            network.train()
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(network(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return one

    def infer(network: nn.Module) -> Step:
        def one() -> None:
            network.eval()
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                network(x)

        return one

    steps = {f"{name}, training": train(network) for name, network in networks.items()}
    steps |= {f"{name}, inference": infer(network) for name, network in networks.items()}
    times = _times(steps, rounds, device)
    return {
        "seconds": {f"structured: {name}": _spread(values) for name, values in times.items()},
        "ratios": {
            f"{name} against dense, wall time of {what}": _ratio(
                times[f"{name}, {what}"], times[f"dense, {what}"]
            )
            for name in networks
            if name != "dense"
            for what in ("training", "inference")
        },
    }


def _plain(model: str, x: torch.Tensor, y: torch.Tensor, device: torch.device) -> Step:
    """The loop as people write it: float32, torch's default layout, SGD with its defaults."""
    from rigl.models import build

    torch.manual_seed(0)
    network = build(model, 10, dropout=0.3).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    x = x.contiguous()

    def one() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return one


def _times(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, step in steps.items():
            _wait(device)
            begin = time.perf_counter()
            step()
            _wait(device)
            if index:  # the first round warms up
                times[name].append(time.perf_counter() - begin)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _spread(values: list[float]) -> dict[str, float]:
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return {"median": median(values), "low": low, "high": high}


def _ratio(above: list[float], below: list[float]) -> dict[str, float]:
    return _spread([a / b for a, b in zip(above, below, strict=True)])


def whole_runs(device: str) -> dict[str, Any]:
    """What only a process of its own can tell: a smoke run's seconds; loading CIFAR-10 and peak memory."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        _python(SMOKE, device, folder)
        (record,) = (record for _, record in records.records(folder))
        found["smoke_seconds"] = record.provenance.wall_seconds
    if (data_root() / "cifar10.npz").exists():
        seconds, memory = _python(MEMORY, device).split()[-2:]
        found["load_cifar10_seconds"] = float(seconds)
        found["peak_memory_bytes"] = None if memory == "None" else int(memory)
    return found


def _python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout


def table(found: dict[str, Any]) -> str:
    """The measurements, a line each."""
    rows = [
        (name, f"{r['median']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}")
        for name, r in found["ratios"].items()
    ]
    rows += [
        (
            f"{name}, a step",
            f"{1000 * s['median']:.1f} ms",
            f"{1000 * s['low']:.1f} to {1000 * s['high']:.1f}",
        )
        for name, s in found["seconds"].items()
    ]
    rows += [(f"{name}, images a second", f"{n:.0f}", "") for name, n in found["images_per_second"].items()]
    units = {"smoke_seconds": "s", "load_cifar10_seconds": "s", "peak_memory_bytes": "bytes"}
    rows += [
        (key.rpartition("_")[0].replace("_", " "), f"{found[key]:,} {unit}", "")
        for key, unit in units.items()
        if found.get(key) is not None
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    head = f"{found['model']} at batch {found['batch']}, {found['device']}, {found['precision']}"
    return "\n".join(
        [f"{head}, {found['threads']} threads"]
        + [f"{name:{widths[0]}}  {value:>{widths[1]}}  {spread}".rstrip() for name, value, spread in rows]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rigl.bench", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or one of several GPUs")
    parser.add_argument("--quick", action="store_true", help="a small model, few rounds, nothing stored")
    options = parser.parse_args(arguments)
    try:
        device = resolve_device(options.device)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    model, rounds, batch = ("wrn-10-1", 2, 16) if options.quick else ("wrn-22-2", 9, 128)
    commit, clean = provenance.commit()
    with training.isolated(device, torch.get_num_threads()):
        measured = measure(device, model=model, rounds=rounds, batch=batch)
        smaller = structured(device, model=model, rounds=rounds, batch=batch)
    for part, values in smaller.items():
        measured[part] |= values
    found = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": resolve_precision("auto", device),
        "model": model,
        "batch": batch,
        "commit": commit,
        "clean": clean,
        "versions": provenance.versions(),
        **measured,
        **({} if options.quick else whole_runs(device.type)),
    }
    print(table(found))
    if not options.quick:
        name = re.sub(r"[^a-z0-9]+", "-", found["device"].lower()).strip("-")
        path = root() / "results" / "bench" / f"{name}.json"
        records.write_whole(path, (json.dumps(found, indent=1) + "\n").encode())
        print(f"stored in {Path(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
