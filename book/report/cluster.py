"""What the whole report takes on so many GPUs: on paper, from measured speeds."""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd

from book.report.tables import Markup, commit, link
from rigl.campaign import experiments
from rigl.sparsity.flops import forward_flops
from rigl.training.config import DATASETS, RunConfig
from rigl.training.project import model_layers, root

GPUS = (1, 8, 64)


@dataclass(frozen=True)
class Task:
    """A run: what it costs, in FLOPs or in seconds, and the names of the runs that it has to wait for."""

    name: str
    cost: float
    needs: tuple[str, ...] = ()


def flops(config: RunConfig) -> float:
    """FLOPs of a run on a machine that masks save nothing: ``3 f_d`` a training image, epoch by epoch, with
    f_d from ``results/layers.json``; a small dense network costs its share of the weights."""
    layers = model_layers()[f"{config.model} on {config.dataset}"]
    images = DATASETS[config.dataset].train - config.validation
    share = (config.density or 1.0) if config.method == "small-dense" else 1.0
    return 3 * forward_flops(layers) * share * images * config.total_epochs


@cache
def tables(protocol: str = "paper") -> tuple[Task, ...]:
    """The runs of all tables and figures, in the campaign's order."""
    runs = experiments.runs(experiments.TABLES, protocol=protocol)
    return tuple(Task(run.name, flops(run), (run.source.name,) if run.source else ()) for run in runs)


@cache
def studies(protocol: str = "paper") -> tuple[Task, ...]:
    """The runs of the hyperparameter studies: a trial's side by side, after those of the trial before."""
    space = experiments.TUNING
    found: list[Task] = []
    for density in space.densities:
        for masks in space.distributions:
            before: tuple[str, ...] = ()
            cost = flops(RunConfig(protocol=protocol, dataset="cifar10", density=density, distribution=masks))
            for trial in range(space.trials):
                names = tuple(f"{masks} {density} trial {trial} seed {seed}" for seed in space.seeds)
                found += [Task(name, cost, before) for name in names]
                before = names
    return tuple(found)


def longest_chain(tasks: Sequence[Task]) -> float:
    """What runs cost that have to come one after another: no number of GPUs makes it less."""
    ends: dict[str, float] = {}
    for task in _sorted(tasks):
        ends[task.name] = task.cost + max((ends[name] for name in task.needs), default=0.0)
    return max(ends.values(), default=0.0)


def makespan(tasks: Sequence[Task], workers: int) -> float:
    """When the last run ends, where every worker that is free takes the first run that can be begun."""
    left, done = list(tasks), set[str]()
    running: list[tuple[float, str]] = []
    now = 0.0
    while left or running:
        ready = (task for task in left if done.issuperset(task.needs))
        for task in list(islice(ready, workers - len(running))):
            left.remove(task)
            heapq.heappush(running, (now + task.cost, task.name))
        now, name = heapq.heappop(running)
        done.add(name)
    return now


def benchmarks() -> list[dict[str, Any]]:
    """The records of ``python -m benchmarks``, GPUs first, each with the name of its `file`."""
    found = [each for each in _stored() if "images_per_second" in each]
    return sorted(found, key=lambda each: (not is_gpu(each), each["device"]))


def overheads() -> list[dict[str, Any]]:
    """The records of ``python -m rigl.campaign overhead``."""
    return [each for each in _stored() if "runs_per_second" in each]


def record_link(benchmark: dict[str, Any], text: str = "") -> Markup:
    """A link to a benchmark's record; `text` is the commit that it was made at unless said."""
    return link(f"bench/{benchmark['file']}", text or commit(benchmark))


def is_gpu(benchmark: dict[str, Any]) -> bool:
    """Whether a benchmark is of a GPU, by its vendor's name."""
    return any(vendor in benchmark["device"] for vendor in ("NVIDIA", "Instinct"))


def rate(benchmark: dict[str, Any]) -> float:
    """FLOPs a second in dense training, of the model that was measured."""
    layers = model_layers()[f"{benchmark['model']} on cifar10"]
    return float(benchmark["images_per_second"]["dense"] * 3 * forward_flops(layers))


def timed(tasks: Sequence[Task], benchmark: dict[str, Any]) -> list[Task]:
    """`tasks` with costs in seconds: their FLOPs at the benchmark's rate, the loading of the data, and what
    the slowest measured scheduler takes to give a run out."""
    speed = rate(benchmark)
    each = benchmark.get("load_cifar10_seconds", 0.0) + pause()
    return [Task(task.name, task.cost / speed + each, task.needs) for task in tasks]


def pause() -> float:
    """Seconds that the slowest measured scheduler takes a run; 0 where none was measured."""
    return max((1 / each["runs_per_second"]["median"] for each in overheads()), default=0.0)


def estimate(benchmark: dict[str, Any]) -> pd.DataFrame:
    """Hours of the tables, of the studies, and of both, on 1, 8 and 64 such devices."""
    parts = {
        "tables and figures": tables(),
        "hyperparameter studies": studies(),
        "both, studies first": [*studies(), *tables()],
    }
    rows = []
    for name, tasks in parts.items():
        seconds = timed(tasks, benchmark)
        rows.append(
            {
                "What": name,
                "Runs": len(tasks),
                "FLOPs": f"{sum(task.cost for task in tasks):.1e}",
                **{f"On {n}, h": _hours(makespan(seconds, n)) for n in GPUS},
                "Longest chain, h": _hours(longest_chain(seconds)),
            }
        )
    return pd.DataFrame(rows)


def costs() -> pd.DataFrame:
    """What enters the formula, a row for each model of the protocol `paper` and its longest run."""
    rows = []
    for dataset in experiments.BOTH:
        config = RunConfig(protocol="paper", dataset=dataset)
        layers = model_layers()[f"{config.model} on {dataset}"]
        rows.append(
            {
                "Model": config.model,
                "Data": dataset,
                "Weights": f"{sum(prod(layer.shape) for layer in layers):,}",
                "Forward, FLOPs an image": f"{forward_flops(layers):.2e}",
                "A run, FLOPs": f"{flops(config):.2e}",
            }
        )
    return pd.DataFrame(rows)


def rates() -> pd.DataFrame:
    """The measured schedulers, a row each."""
    rows = [
        {
            "Device": each["device"],
            "Workers": each["workers"],
            "Runs": each["runs"],
            "Runs a second": f"{each['runs_per_second']['median']:.1f}",
            "Quartiles": "{low:.1f} to {high:.1f}".format(**each["runs_per_second"]),
            "First run after, s": f"{each['seconds_to_start']:.0f}",
            "Record": record_link(each),
        }
        for each in overheads()
    ]
    return pd.DataFrame(rows)


def verdict(benchmark: dict[str, Any]) -> str:
    """What holds the report up on many GPUs, in words."""
    seconds = timed([*studies(), *tables()], benchmark)
    most = max(GPUS)
    whole, chain = makespan(seconds, most), longest_chain(seconds)
    alone = longest_chain(timed(tables(), benchmark))
    asked = len(seconds) / whole
    text = (
        f"On {most} such devices the whole report takes {_hours(whole)} hours, of which the longest chain of "
        f"runs that wait for one another is {chain / whole:.0%}; among the tables alone that chain is "
        f"{_hours(alone)} hours long."
    )
    if pause():
        text += f" A run is then given out every {1 / asked:,.0f} seconds; the scheduler needs {pause():.2g}."
    return text


def _stored() -> list[dict[str, Any]]:
    found = sorted(Path(root(), "results", "bench").glob("*.json"))
    return [{**json.loads(path.read_text()), "file": path.name} for path in found]


def _sorted(tasks: Sequence[Task]) -> list[Task]:
    """Each after what it needs; those of the campaign and of studies stand so already."""
    seen: set[str] = set()
    for task in tasks:
        if not seen.issuperset(task.needs):
            raise ValueError(f"{task.name} stands before what it needs")
        seen.add(task.name)
    return list(tasks)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f}" if seconds < 360_000 else f"{seconds / 3600:,.0f}"
