"""What training costs in time, from the records of ``python -m benchmarks``, and what the whole report would
take."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from book.report import display, figures, names
from book.report.runs import experiments
from rigl.sparsity.flops import forward_flops
from rigl.training.config import DATASETS, RunConfig
from rigl.training.project import model_layers

Benchmark = dict[str, Any]
Ratio = dict[str, float]
PARTS = {
    "data": figures.hatched(figures.SKY, ""),
    "forward": figures.hatched(figures.BLUE, "/"),
    "backward": figures.hatched(figures.ORANGE, "x"),
    "dense, optimiser": figures.hatched(figures.GREEN, "."),
}
GAIN = 0.95  # of a dense step's time: above it, nothing is gained
LANES = {count: f"{count} lanes against one, images a second" for count in (2, 4, 8)}
# What may bound a step, its unit, and what a device gets most of it in.
LIMITS = (("arithmetic", "FLOP/s", "matrix product"), ("memory", "bytes/s", "copy"))
UNMEASURED = "Nothing has been measured yet: `python -m benchmarks` does."
WHOLE = "rigl against dense, whole steps between updates"
LOOP = "dense against the plain loop with PIL batches"


def benchmarks() -> list[Benchmark]:
    """The records of ``python -m benchmarks``, GPUs first, each with the name of its `file`."""
    stored = sorted((display.folder() / "bench").glob("*.json"))
    read = [{**json.loads(path.read_text()), "file": path.name} for path in stored]
    found = [each for each in read if "images_per_second" in each]
    return sorted(found, key=lambda each: (not is_gpu(each), each["device"]))


def is_gpu(benchmark: Benchmark) -> bool:
    """Whether a benchmark is of a GPU, by its vendor's name."""
    return any(vendor in benchmark["device"] for vendor in ("NVIDIA", "Instinct"))


def first() -> Benchmark | None:
    """The record that the page goes into: a GPU's where there is one; None where nothing was measured."""
    return next(iter(benchmarks()), None)


def origin(benchmark: Benchmark | None) -> Markup | None:
    """A link to a record, for a caption."""
    return display.link(f"bench/{benchmark['file']}", "The record") if benchmark else None


def _commit(benchmark: Benchmark) -> Markup:
    """A link to a record, for a cell."""
    return display.link(f"bench/{benchmark['file']}", display.commit(benchmark))


def name(benchmark: Benchmark | None) -> str:
    """The device of a record, for a caption."""
    return benchmark["device"] if benchmark else "a device"


def speed() -> pd.DataFrame:
    """Images a second of dense training, by the engine and by the plain loop, a row a machine."""
    rows = []
    for each in benchmarks():
        rates, ratios = each["images_per_second"], each["ratios"]
        machine = each["device"], f"{each['threads']} threads", each["precision"], each["engine"]
        against = "against the plain loop, images a second"
        exact = ratios.get(f"dense in float32 {against}")
        if exact is None and each["precision"] == "float32":
            exact = ratios[f"dense {against}"]
        captured = "rigl against dense, captured, epochs with an update"
        # Of whole epochs where steps are captured; else of the optimiser's part, whose noise is smaller.
        rigl = ratios.get(captured) or ratios["rigl against dense, a step, updates included"]
        rows.append(
            {
                "Machine": ", ".join(machine),
                "Engine, images/s": f"{rates['dense']:,.0f}",
                "Plain loop, images/s": f"{rates['plain loop']:,.0f}",
                "Engine against it": display.spread(ratios[LOOP]),
                "The same in float32, without data": display.spread(exact) if exact else "-",
                "RigL against dense": display.spread(rigl),
                "The same, whole steps": display.spread(ratios[WHOLE]),
                "Record": _commit(each),
            }
        )
    return pd.DataFrame(rows)


def captured(benchmark: Benchmark | None) -> pd.DataFrame:
    """What capturing steps as a CUDA graph gains, and training several runs side by side on one GPU."""
    ratios = benchmark["ratios"] if benchmark else {}
    words = {"captured against eager, dense, images a second": "captured steps against eager ones"}
    words |= {key: f"{count} runs at once against 1" for count, key in LANES.items()}
    return pd.DataFrame(
        {"What": what, "Images a second": display.spread(ratios[key])}
        for key, what in words.items()
        if key in ratios
    )


def methods(benchmark: Benchmark | None) -> pd.DataFrame:
    """Each method's step against a dense one, and how long a mask update takes."""
    rows = []
    for key, ratio in (benchmark["ratios"] if benchmark else {}).items():
        method, found, _ = key.partition(" against dense, a step, updates included")
        if found and benchmark:
            update = benchmark["seconds"].get(f"{method}, an update")
            rows.append(
                {
                    "Method": names.method(method),
                    "A step against dense": display.spread(ratio),
                    "An update, ms": f"{1000 * update['median']:.1f}" if update else "-",
                }
            )
    return pd.DataFrame(rows)


def split(benchmark: Benchmark) -> go.Figure:
    """Where the time of an eager dense step goes, in milliseconds."""
    fig = go.Figure()
    for part, look in PARTS.items():
        fig.add_bar(
            x=[1000 * benchmark["seconds"][part]["median"]],
            y=[""],
            name=part.removeprefix("dense, "),
            orientation="h",
            marker=look,
            hovertemplate="%{x:.2f} ms<extra>%{fullData.name}</extra>",
        )
    figures.styled(fig, height=200, barmode="stack", xaxis_title="time, ms")
    return fig.update_layout(legend_traceorder="normal", margin_l=12)


def split_text(benchmark: Benchmark) -> str:
    """What one sees in `split`."""
    seconds = benchmark["seconds"]
    parts = [f"{part.removeprefix('dense, ')} {1000 * seconds[part]['median']:.1f}" for part in PARTS]
    text = f"Milliseconds that each part of a dense step takes on {name(benchmark)}: {', '.join(parts)}."
    step = seconds.get("an epoch's step: dense, captured")
    if step:
        text += f" These are eager steps; a captured one takes {1000 * step['median']:.1f} in all."
    return text


def limits(benchmark: Benchmark | None) -> pd.DataFrame:
    """What a step gets through, against what the device does in a large matrix product and a large copy."""
    if benchmark is None:
        return pd.DataFrame()
    rates, ratios = benchmark["rates"], benchmark["ratios"]
    return pd.DataFrame(
        {
            "Limit": what,
            "A step": f"{rates[f'a step, {unit}']['median'] / 1e9:,.1f}",
            "The device": f"{rates[f'a {large}, {unit}']['median'] / 1e9:,.1f}",
            "Unit": f"G{unit}",
            "Share": display.spread(ratios[f"a step's {unit} against a {large}'s"]),
        }
        for what, unit, large in LIMITS
    )


def smaller() -> pd.DataFrame:
    """Wall times of networks that really are smaller, against dense, a row a machine and network."""
    return pd.DataFrame(
        {
            "Machine": _machine(each),
            "Network": network,
            "Training": display.spread(training),
            "Inference": display.spread(inference),
            "Record": _commit(each),
        }
        for each in benchmarks()
        for network, training, inference in _smaller(each)
    )


def _smaller(benchmark: Benchmark) -> list[tuple[str, Ratio, Ratio]]:
    """(network, its time to train, its time to infer) against dense, of each network that has dead
    channels cut out or is narrow."""
    ratios, mark = benchmark["ratios"], " against dense, wall time of training"
    return [
        (
            names.setting(*key.removesuffix(mark).lower().split(", ")),
            ratio,
            ratios[key.replace("training", "inference")],
        )
        for key, ratio in ratios.items()
        if key.endswith(mark)
    ]


def _machine(benchmark: Benchmark) -> str:
    return f"{benchmark['device']}, {benchmark['precision']}"


def fewer_channels() -> str:
    """A training step of each network of `smaller` in multiples of a dense one's, machine by machine."""
    lines = []
    for each in benchmarks():
        times = ", ".join(f"{network} {training['median']:.2f}" for network, training, _ in _smaller(each))
        if times:
            lines.append(f"{_machine(each)}: {times}")
    return f"A training step, in multiples of a dense one's. {'; '.join(lines)}." if lines else ""


def fastest() -> str:
    """The network of `smaller` that trains fastest in place of a dense one, machine by machine."""
    lines = []
    for each in benchmarks():
        if found := _smaller(each):
            name, ratio, _ = min(found, key=lambda network: network[1]["median"])
            best = name if ratio["median"] < GAIN else "none of these"
            lines.append(f"{_machine(each)}: {best}")
    return "; ".join(lines)


def saved() -> str:
    """What cutting dead channels out saves in wall time at density 0.1, a line a machine, in Markdown: the
    least of what it saves with uniform masks and with ERK."""
    lines = []
    for each in benchmarks():
        found = [pair for name, *pair in _smaller(each) if name.startswith(names.method("rigl-struct"))]
        if found:
            training, inference = (
                max(ratio["median"] for ratio in side) for side in zip(*found, strict=True)
            )
            lines.append(
                f"- **{_machine(each)}**: {_change(training)} a training step, "
                f"{_change(inference)} inference."
            )
    return "\n".join(lines) or UNMEASURED


def _change(ratio: float) -> str:
    """``"saves 40 % of"``, ``"adds 10 % to"``."""
    return f"saves {100 * (1 - ratio):.0f} % of" if ratio < 1 else f"adds {100 * (ratio - 1):.0f} % to"


def ceiling(benchmark: Benchmark | None) -> str:
    """What bounds a step, and how much faster it could become at most."""
    if benchmark is None:
        return UNMEASURED
    ratios, place = benchmark["ratios"], f"{benchmark['device']} in {benchmark['precision']}"
    shares = [ratios[f"a step's {unit} against a {large}'s"]["median"] for _, unit, large in LIMITS]
    loop, room = ratios[LOOP]["median"], 1 / max(shares)
    (large,) = (large for what, _, large in LIMITS if what == benchmark["limit"])
    return (
        f"A step is bound by {benchmark['limit']}: on {place} it is at {max(shares):.0%} of what the "
        f"device does in a large {large}. At that rate throughout, normalisation and activations "
        f"included, it would be {room:.1f} times as fast, and {room * loop:.1f} times as fast as the plain "
        f"loop, against which it now is {loop:.2f}."
    )


def flops(config: RunConfig) -> float:
    """FLOPs of a run on a machine that masks save nothing: ``3 f_d`` a training image, epoch by epoch, with
    f_d from ``results/layers.json``; a small dense network costs its share of the weights."""
    layers = model_layers()[f"{config.model} on {config.dataset}"]
    images = DATASETS[config.dataset].train - config.validation
    share = (config.density or 1.0) if config.method == "small-dense" else 1.0
    return 3 * forward_flops(layers) * share * images * config.total_epochs


def rate(benchmark: Benchmark) -> float:
    """FLOPs a second in dense training, of the model that was measured."""
    layers = model_layers()[f"{benchmark['model']} on cifar10"]
    return float(benchmark["images_per_second"]["dense"] * 3 * forward_flops(layers))


def report_time() -> pd.DataFrame:
    """Hours of all the report's runs on one device of each machine measured, by their FLOPs at its rate, one
    after the other and as many at once as is fastest there; and the report's own account, which is in
    days."""
    theirs = display.read("published.json")["compute"]
    rows = [
        {
            "Device": theirs["gpu"],
            "A run on CIFAR-10, h": f"{theirs['hours_per_run']['cifar10']:g}",
            "A run on CIFAR-100, h": f"{theirs['hours_per_run']['cifar100']:g}",
            "All tables and figures, h": f"{sum(theirs['total_days'].values())} days, as printed",
            "Several runs at once, h": "-",
            "Whose numbers": "the report's",
        }
    ]
    total = sum(map(flops, experiments.runs(experiments.TABLES, protocol="paper")))
    for each in benchmarks():
        one = [flops(RunConfig(protocol="paper", dataset=dataset)) for dataset in experiments.BOTH]
        gains = {
            lanes: each["ratios"][key]["median"] for lanes, key in LANES.items() if key in each["ratios"]
        }
        best = max(gains, key=lambda lanes: gains[lanes], default=1)
        rows.append(
            {
                "Device": _machine(each),
                "A run on CIFAR-10, h": f"{one[0] / rate(each) / 3600:,.2f}",
                "A run on CIFAR-100, h": f"{one[1] / rate(each) / 3600:,.2f}",
                "All tables and figures, h": f"{total / rate(each) / 3600:,.0f}",
                "Several runs at once, h": f"{total / rate(each) / 3600 / gains[best]:,.0f}, {best} at once"
                if gains
                else "-",
                "Whose numbers": "ours, by FLOPs",
            }
        )
    return pd.DataFrame(rows)
