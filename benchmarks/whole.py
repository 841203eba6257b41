"""What only processes of their own can tell: whole runs, alone and side by side, loading and memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

from benchmarks.timing import ratio, spread
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
from benchmarks.subject import config
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


def measure(device: torch.device, engine: str) -> dict[str, Any]:
    """A smoke run's seconds; loading CIFAR and the peak memory of training on it, where it is there."""
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


def side_by_side(rounds: int, epochs: int = 20) -> dict[str, Any]:
    """Two runs on the CPU at once, with half the threads each, against one after the other with all."""
    all_threads = torch.get_num_threads()
    times: dict[str, list[float]] = {"two runs, one after the other": [], "two runs, side by side": []}
    for _ in range(rounds):
        for name, parts, threads in (
            ("two runs, one after the other", [["0", "1"]], all_threads),
            ("two runs, side by side", [["0"], ["1"]], max(1, all_threads // 2)),
        ):
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(_together(parts, threads, folder, epochs))
    return {
        "seconds": {name: spread(values) for name, values in times.items()},
        "ratios": {
            "two runs side by side against one after the other": ratio(
                times["two runs, side by side"], times["two runs, one after the other"]
            )
        },
    }


def _together(parts: list[list[str]], threads: int, folder: str, epochs: int) -> float:
    """Seconds until processes that are ready have trained their seeds."""
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
