"""What training costs in time and memory, from the benchmark's records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from book.report import cluster, figures, tables
from rigl.campaign import experiments
from rigl.training.config import DATASETS, RunConfig
from rigl.training.project import root

Benchmark = dict[str, Any]
PARTS = {
    "data": figures.SKY,
    "forward": figures.BLUE,
    "backward": figures.ORANGE,
    "dense, optimiser": figures.GREEN,
}
PATTERNS = ("", "/", "x", ".")
NOT = "not yet"
WHOLE = "rigl against dense, whole steps between updates"
LIMITS = ("FLOP/s against a matrix product's", "bytes/s against a copy's")


def first() -> Benchmark | None:
    """The record that the page goes into: a GPU's where there is one; None where nothing was measured."""
    return next(iter(cluster.benchmarks()), None)


def origin(benchmark: Benchmark | None) -> tables.Markup | None:
    """A link to a record, for a caption."""
    return cluster.record_link(benchmark, "The record") if benchmark else None


def name(benchmark: Benchmark | None) -> str:
    """The device of a record, for a caption."""
    return benchmark["device"] if benchmark else "a device"


def speed() -> pd.DataFrame:
    """Images a second of dense training, by the engine and by the plain loop, a row a machine."""
    rows = []
    for each in cluster.benchmarks():
        rates, ratios = each["images_per_second"], each["ratios"]
        loop = "against the plain loop, images a second"
        exact = ratios.get(f"dense in float32 {loop}")
        if exact is None and each["precision"] == "float32":
            exact = ratios[f"dense {loop}"]
        rows.append(
            {
                "Machine": ", ".join(
                    (each["device"], f"{each['threads']} threads", each["precision"], each["engine"])
                ),
                "Engine, images/s": f"{rates['dense']:,.0f}",
                "Plain loop, images/s": f"{rates['plain loop']:,.0f}",
                "Engine against it": _spread(ratios["dense against the plain loop with PIL batches"]),
                "The same in float32, without data": _spread(exact) if exact else "-",
                "RigL against dense": _spread(_rigl_ratio(each)),
                "The same, whole steps": _spread(each["ratios"][WHOLE]),
                "Record": cluster.record_link(each),
            }
        )
    return pd.DataFrame(rows)


def methods(benchmark: Benchmark | None) -> pd.DataFrame:
    """Each method's step against a dense one, and how long a mask update takes."""
    if benchmark is None:
        return pd.DataFrame()
    rows = []
    for name, ratio in benchmark["ratios"].items():
        method, found, _ = name.partition(" against dense, a step, updates included")
        if found:
            update = benchmark["seconds"].get(f"{method}, an update")
            rows.append(
                {
                    "Method": method,
                    "A step against dense": _spread(ratio),
                    "An update, ms": f"{1000 * update['median']:.1f}" if update else "-",
                }
            )
    return pd.DataFrame(rows)


def split(benchmark: Benchmark) -> go.Figure:
    """Where the time of a dense step goes, in milliseconds."""
    fig = go.Figure()
    for pattern, (name, colour) in zip(PATTERNS, PARTS.items(), strict=True):
        fig.add_bar(
            x=[1000 * benchmark["seconds"][name]["median"]],
            y=[""],
            name=name.removeprefix("dense, "),
            orientation="h",
            marker={"color": colour, "pattern": {"shape": pattern, "fillmode": "overlay"}},
            hovertemplate="%{x:.2f} ms<extra>%{fullData.name}</extra>",
        )
    figures.styled(fig, height=200, barmode="stack", xaxis_title="time, ms")
    return fig.update_layout(legend_traceorder="normal", margin_l=12)


def split_text(benchmark: Benchmark) -> str:
    """What one sees in `split`."""
    parts = [
        f"{part.removeprefix('dense, ')} {1000 * benchmark['seconds'][part]['median']:.1f}" for part in PARTS
    ]
    return f"Milliseconds that each part of a dense step takes on {name(benchmark)}: {', '.join(parts)}."


def limits(benchmark: Benchmark | None) -> pd.DataFrame:
    """What a step gets through, against what the device does in a large matrix product and a large copy."""
    if benchmark is None:
        return pd.DataFrame()
    rates, ratios = benchmark["rates"], benchmark["ratios"]
    return pd.DataFrame(
        [
            {
                "Limit": what,
                "A step": f"{rates[f'a step, {unit}']['median'] / 1e9:,.1f}",
                "The device": f"{rates[f'{large}, {unit}']['median'] / 1e9:,.1f}",
                "Unit": f"G{unit}",
                "Share": _spread(ratios[f"a step's {unit} against {large}'s"]),
            }
            for what, unit, large in (
                ("arithmetic", "FLOP/s", "a matrix product"),
                ("memory", "bytes/s", "a copy"),
            )
        ]
    )


def structured(benchmark: Benchmark | None) -> pd.DataFrame:
    """Wall times of networks that really are smaller, against dense."""
    if benchmark is None:
        return pd.DataFrame()
    ratios, mark = benchmark["ratios"], " against dense, wall time of training"
    return pd.DataFrame(
        [
            {
                "Network": name.removesuffix(mark),
                "Training": _spread(ratio),
                "Inference": _spread(ratios[name.replace("training", "inference")]),
            }
            for name, ratio in ratios.items()
            if name.endswith(mark)
        ]
    )


def ceiling(benchmark: Benchmark | None) -> str:
    """What bounds a step, and how much faster it could become at most."""
    if benchmark is None:
        return "Nothing has been measured yet: `python -m benchmarks` does."
    shares = [benchmark["ratios"][f"a step's {name}"]["median"] for name in LIMITS]
    loop = benchmark["ratios"]["dense against the plain loop with PIL batches"]["median"]
    room = 1 / max(shares)
    place = f"{benchmark['device']} in {benchmark['precision']}"
    large = "matrix product" if benchmark["limit"] == "arithmetic" else "copy"
    return (
        f"A step is bound by {benchmark['limit']}: on {place} it is at {max(shares):.0%} of what the "
        f"device does in a large {large}. At that rate throughout, normalisation and activations "
        f"included, it would be {room:.1f} times as fast, and {room * loop:.1f} times as fast as the plain "
        f"loop, against which it now is {loop:.2f}."
    )


def aims() -> pd.DataFrame:
    """What was aimed at and what was measured, on two CPU cores and on one H100."""
    every = cluster.benchmarks()
    cpu = next((each for each in every if not cluster.is_gpu(each) and each["threads"] == 2), None)
    gpu = next((each for each in every if "H100" in each["device"]), None)
    rows = [
        ("against the plain loop, times", "2", "10", _loop),
        ("RigL step against dense, updates included", "1.02", "1.05", _rigl),
        ("WRN-22-2, 250 epochs, alone, minutes", "-", "3", lambda b: _minutes(b, "cifar10", 1)),
        ("the same, one of 8 lanes, minutes a run", "-", "1", lambda b: _minutes(b, "cifar10", 8)),
        ("ResNet-50, 250 epochs, alone, minutes", "-", "12", lambda b: _minutes(_resnet(b), "cifar100", 1)),
        ("a mask update of ResNet-50, ms", "-", "9.9", lambda b: _update(_resnet(b))),
        ("two runs at once, time against one after the other", "1", "-", _two),
        ("peak memory, WRN-22-2 at batch 128, GB", "2.5", "0.8", lambda b: _memory(b, "wrn-22-2")),
        ("peak memory, ResNet-50 at batch 128, GB", "-", "3.5", lambda b: _memory(b, "resnet-50")),
    ]
    return pd.DataFrame(
        [
            {
                "What": what,
                "Two CPU cores": _measured(read, cpu, cpu_aim),
                "One H100": _measured(read, gpu, gpu_aim),
            }
            for what, cpu_aim, gpu_aim, read in rows
        ]
    )


def report_time() -> pd.DataFrame:
    """Hours of all the report's runs, one after the other, on each machine measured; and the report's own
    account, which is in days."""
    theirs = json.loads((root() / "results" / "published.json").read_text())["compute"]
    tasks = cluster.tables()
    rows = [
        {
            "Device": theirs["gpu"],
            "A run on CIFAR-10, h": f"{theirs['hours_per_run']['cifar10']:g}",
            "A run on CIFAR-100, h": f"{theirs['hours_per_run']['cifar100']:g}",
            "All tables and figures, h": f"{sum(theirs['total_days'].values())} days, as printed",
            "Whose figures": "the report's",
        }
    ]
    for each in cluster.benchmarks():
        seconds = cluster.rate(each)
        one = [
            cluster.flops(RunConfig(protocol="paper", dataset=dataset)) / seconds / 3600
            for dataset in experiments.BOTH
        ]
        total = sum(task.cost for task in tasks) / seconds / 3600
        rows.append(
            {
                "Device": each["device"],
                "A run on CIFAR-10, h": f"{one[0]:,.1f}",
                "A run on CIFAR-100, h": f"{one[1]:,.1f}",
                "All tables and figures, h": f"{total:,.0f}",
                "Whose figures": "ours, by FLOPs",
            }
        )
    return pd.DataFrame(rows)


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def _measured(read: Callable[[Benchmark], str], benchmark: Benchmark | None, aim: str) -> str:
    """A figure beside its aim; a dash where there is none."""
    if aim == "-":
        return "-"
    return f"{NOT if benchmark is None else read(benchmark)} (aim {aim})"


def _loop(benchmark: Benchmark) -> str:
    return f"{benchmark['ratios']['dense against the plain loop with PIL batches']['median']:.2f}"


def _rigl_ratio(benchmark: Benchmark) -> dict[str, float]:
    """Of whole epochs where steps are captured; else of the optimiser's part, whose noise is smaller."""
    captured = "rigl against dense, captured, epochs with an update"
    name = captured if benchmark["engine"] == "captured" else "rigl against dense, a step, updates included"
    found: dict[str, float] = benchmark["ratios"][name]
    return found


def _rigl(benchmark: Benchmark) -> str:
    return f"{_rigl_ratio(benchmark)['median']:.3f}"


def _resnet(benchmark: Benchmark) -> Benchmark:
    """The same device's record of ResNet-50; an empty one where there is none."""
    folder = root() / "results" / "bench" / "resnet-50"
    found = (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))
    return next((each for each in found if each["device"] == benchmark["device"]), {})


def _update(benchmark: Benchmark) -> str:
    seconds = benchmark.get("seconds", {}).get("rigl, an update")
    return f"{1000 * seconds['median']:.1f}" if seconds else NOT


def _two(benchmark: Benchmark) -> str:
    ratio = benchmark["ratios"].get("two runs side by side against one after the other")
    return f"{ratio['median']:.2f}" if ratio else NOT


def _minutes(benchmark: Benchmark, dataset: str, lanes: int) -> str:
    rate = benchmark.get("rates", {}).get(f"{lanes} lanes, images/s")
    config = RunConfig(protocol="paper", dataset=dataset)
    images = config.total_epochs * (DATASETS[dataset].train - config.validation)
    return f"{images / rate['median'] / 60:.1f}" if rate else NOT


def _memory(benchmark: Benchmark, model: str) -> str:
    found = benchmark.get(f"peak_memory_{model}_bytes")
    return f"{found / 1e9:.2f}" if found else NOT
