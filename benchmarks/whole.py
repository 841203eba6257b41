"""Measurements in separate processes: whole runs, alone, concurrent and compiled; loading; memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch
from torch._inductor import config as inductor

from benchmarks.timing import Subject, ratio, spread, times
from rigl.training import records
from rigl.training.data import data_root

SMOKE = """
import sys
from rigl import RunConfig, train
train(RunConfig(), device=sys.argv[1], results=sys.argv[2])
"""
SHORT = """
import sys, torch
from rigl import RunConfig, train
torch.set_num_threads(int(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for seed in sys.argv[4:]:
    config = RunConfig(epochs=int(sys.argv[3]), batch_size=128, seed=int(seed))
    train(config, device="cpu", results=sys.argv[2])
"""
MEMORY = """
import sys, time, torch
from rigl.training import provenance
from benchmarks.timing import config
from rigl.training.data import load
from rigl.training.engine import choose
from rigl.training.run import build_run
knobs = config(sys.argv[2], 128, "rigl")
device = torch.device(sys.argv[1])
begin = time.perf_counter()
dataset = load(knobs.dataset)
seconds = time.perf_counter() - begin
dataset = dataset.to(device)
with choose(build_run(knobs, device), name=sys.argv[3]) as engine:
    engine.epoch(dataset.train[:128 * int(sys.argv[4])], 0)
    engine.evaluate(dataset.test[:1000])
print(seconds, provenance.peak_memory(device))
"""

# One thread, as in a campaign, and in a process of its own, so that earlier measurements have no influence.
COMPILED = """
import json, sys, torch
torch.set_num_threads(1)
from benchmarks import whole
print(json.dumps(whole.compare(torch.device(sys.argv[1]), int(sys.argv[2]), **whole.LAPTOP)))
"""
LAPTOP: dict[str, Any] = {"protocol": "laptop", "model": "wrn-10-2", "batch": 128}


def measure(device: torch.device, engine: str) -> dict[str, Any]:
    """Seconds of a smoke run; time to load CIFAR and peak memory of training on it, if it is available."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        _python(SMOKE, str(device), folder)
        (record,) = (record for _, record in records.records(folder))
        found["smoke_seconds"] = record.provenance.wall_seconds
    cuda = device.type == "cuda"
    for model, data in (("wrn-22-2", "cifar10"), ("resnet-50", "cifar100"))[: 2 if cuda else 1]:
        if (data_root() / f"{data}.npz").exists():
            steps = "8" if cuda else "2"
            seconds, memory = _python(MEMORY, str(device), model, engine, steps).split()[-2:]
            found[f"load_{data}_seconds"] = float(seconds)
            found[f"peak_memory_{model}_bytes"] = None if memory == "None" else int(memory)
    return found


def side_by_side(rounds: int) -> dict[str, Any]:
    """Two concurrent runs on the CPU with half the threads each, against one after the other with all."""
    all_threads = torch.get_num_threads()
    times: dict[str, list[float]] = {"two runs, one after the other": [], "two runs, side by side": []}
    for _ in range(rounds):
        for name, parts, threads in (
            ("two runs, one after the other", [["0", "1"]], all_threads),
            ("two runs, side by side", [["0"], ["1"]], max(1, all_threads // 2)),
        ):
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(_together(parts, threads, folder, 20))
    return {
        "seconds": {name: spread(values) for name, values in times.items()},
        "ratios": {
            "two runs side by side against one after the other": ratio(
                times["two runs, side by side"], times["two runs, one after the other"]
            )
        },
    }


def compiled(device: torch.device, *, model: str, rounds: int, batch: int) -> dict[str, Any]:
    """Dense steps with torch.compile against eager ones: of `model`, and, on one thread, of the ``laptop``
    protocol's network, also for a whole run including compilation."""
    found = compare(device, rounds, model=model, batch=batch)
    small = json.loads(_python(COMPILED, str(device), str(rounds)).splitlines()[-1])
    eager, fast = small["eager"], small["compiled"]
    steps = Subject(device, **LAPTOP).run.config.total_steps
    whole = [one * steps / (two * steps + small["seconds"]) for one, two in zip(eager, fast, strict=True)]
    name = f"{LAPTOP['model']} compiled against eager, one thread"
    return {
        "ratios": {
            "compiled against eager, dense, images a second": ratio(found["eager"], found["compiled"]),
            f"{name}, images a second": ratio(eager, fast),
            f"{name}, a whole run with its compilation": spread(whole),
        },
        "compile_seconds": small["seconds"],
    }


def compare(device: torch.device, rounds: int, **size: Any) -> dict[str, Any]:
    """Seconds per step of each engine, and of the first compiled step."""
    eager, fast = (Subject(device, engine=engine, **size) for engine in ("eager", "compiled"))
    begin = time.perf_counter()
    with inductor.patch(force_disable_caches=True):
        float(fast.step())
    seconds = time.perf_counter() - begin
    return {**times({"eager": eager.step, "compiled": fast.step}, rounds, device), "seconds": seconds}


def _together(parts: list[list[str]], threads: int, folder: str, epochs: int) -> float:
    """Seconds until all processes have trained their seeds, without their start-up."""
    command = [sys.executable, "-c", SHORT, str(threads), folder, str(epochs)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started: list[Any] = [subprocess.Popen([*command, *seeds], text=True, **pipes) for seeds in parts]
    for process in started:
        process.stdout.readline()
    begin = time.perf_counter()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(errors.strip().splitlines()[-1])
    return time.perf_counter() - begin


def _python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout
