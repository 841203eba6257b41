"""What sparse execution gains on a CPU: its benchmark's tables, and accuracy against seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import log2, prod
from statistics import mean
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from book.report import display, figures, names
from book.report.cost import Benchmark
from rigl.training import records

# Form of a model, and the method and execution by which it trains.
TRAINED = {
    "dense": ("dense", "masked"),
    "small-dense": ("small-dense", "masked"),
    "masked": ("rigl", "masked"),
    "sparse": ("rigl", "sparse"),
}
SPAN = 3.0  # points below the median run that the plot of the race shows
RACE = "bench/seconds"
ALIKE = 0.15  # share by which two networks with as many weights may differ: widths are whole numbers


def benchmark() -> Benchmark | None:
    """The record of ``python -m benchmarks --sparse``; None where nothing was measured."""
    found = sorted((display.folder() / "bench" / "sparse").glob("*.json"))
    return {**json.loads(found[0].read_text()), "file": f"sparse/{found[0].name}"} if found else None


def training(benchmark: Benchmark | None) -> pd.DataFrame:
    """How many times faster than dense a whole training step is, a row a network and number of threads."""
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for each in benchmark["training"] if benchmark else []:
        row = rows.setdefault(
            (each["network"], each["threads"]),
            {"Network": each["network"], "Threads": str(each["threads"])},
        )
        if each["method"] == "rigl" and each["execution"] != "masked":
            row[f"{each['execution']}, {each['density']:g}"] = display.spread(each["faster"], 2)
    return pd.DataFrame([*rows.values()])


def models(benchmark: Benchmark | None) -> pd.DataFrame:
    """File, memory, latency and a training step of each form of a network."""
    rows = []
    for each in benchmark["models"] if benchmark else []:
        form = TRAINED.get(each["form"])
        steps = [
            row["seconds"]["median"]
            for row in (benchmark or {})["training"]
            if (row["network"], row["threads"]) == (each["network"], each["threads"])
            and (row["method"], row["execution"]) == form
            and row["density"] == each["density"]
        ]
        rows.append(
            {
                "Network": each["network"],
                "Form": each["form"],
                "File, MB": f"{each['file'] / 1e6:.2f}",
                "Weights in memory, MB": f"{each['memory'] / 1e6:.2f}",
                "Latency of 1, ms": f"{1000 * each['latency_1']['median']:.3f}",
                "of 256, ms": f"{1000 * each['latency_256']['median']:.2f}",
                "Training step, ms": f"{1000 * steps[0]:.2f}" if steps else "-",
            }
        )
    return pd.DataFrame(rows)


def meaning(benchmark: Benchmark | None) -> str:
    """What the table of models means for a reader."""
    if benchmark is None or not benchmark["models"]:
        return "Sparse models were not measured yet."
    forms: dict[str, dict[str, Any]] = {}
    for each in benchmark["models"]:
        forms.setdefault(each["network"], {})[each["form"]] = each

    def ratios(one: str, other: str, measure: Callable[[Any], float]) -> list[float]:
        return [measure(form[one]) / measure(form[other]) for form in forms.values()]

    sizes = ratios("sparse", "dense", lambda form: form["file"])
    gains = ratios("dense", "sparse", lambda form: form["latency_256"]["median"])
    single = ratios("dense", "sparse", lambda form: form["latency_1"]["median"])
    small = {name: form for name, form in forms.items() if "small-dense" in form}
    ahead = [
        name
        for name, form in small.items()
        if form["sparse"]["latency_256"]["median"] < form["small-dense"]["latency_256"]["median"]
    ]
    text = (
        f"Saved by `rigl.save_sparse`, a file takes {min(sizes):.2f} to {max(sizes):.2f} times the space of "
        f"its dense one's. At batch 256 a sparse model is {min(gains):.1f} to {max(gains):.1f} times as fast "
        f"as its dense one, at batch 1 {min(single):.1f} to {max(single):.1f} times. "
    )
    if not ahead:
        return text + f"A small dense network with as many weights was faster for all of {', '.join(small)}."
    return text + f"It is faster than a small dense network with as many weights only for {', '.join(ahead)}."


def in_short(step: Benchmark | None, sparse: Benchmark | None) -> str:
    """What masks and sparse layers save, in a few sentences, by the benchmark of steps and that of sparse
    execution."""
    parts = []
    if step:
        ratio = step["ratios"]["rigl against dense, a step, updates included"]["median"]
        parts.append(
            f"Masks alone save no time: a step of RigL takes {ratio:.2f} times as long as a dense one "
            f"({step['device']})."
        )
    rows = sparse["training"] if sparse else []
    gains = [row["faster"]["median"] for row in rows if (row["method"], row["execution"]) == ("rigl", "auto")]
    if sparse and gains:
        sizes = {(row["network"], row["form"]): row["file"] for row in sparse["models"]}
        share = max(size / sizes[name, "dense"] for (name, form), size in sizes.items() if form == "sparse")
        density = min(row["density"] for row in sparse["models"])  # all forms but dense have it
        takes = [kinds["sparse"] / kinds["dense"] for kinds in _bytes(sparse).values()]
        peak = f" Training takes {min(takes):.2f} to {max(takes):.2f} times the memory." if takes else ""
        parts.append(
            f"On a CPU, sparse linear layers make a step {min(gains):.1f} to {max(gains):.1f} times as fast "
            f'as a dense one, depending on network and density (`execution="auto"`).{peak} At density '
            f"{density:g} a file saved by `rigl.save_sparse` takes at most {share:.0%} of the dense one's "
            "space; other files do not shrink."
        )
    return " ".join(parts)


def memory(benchmark: Benchmark | None) -> str:
    """What training takes of memory, in a sentence a network."""
    found = _bytes(benchmark)
    each = [
        f"{network} {kinds['sparse'] / 1e6:.0f} MB sparse, {kinds['masked'] / 1e6:.0f} masked, "
        f"{kinds['dense'] / 1e6:.0f} dense"
        for network, kinds in found.items()
    ]
    return f"Peak memory that training adds to the process: {'; '.join(each)}." if each else ""


def _bytes(benchmark: Benchmark | None) -> dict[str, dict[str, int]]:
    """Peak memory of training each network, by how it is executed."""
    found: dict[str, dict[str, int]] = {}
    for each in benchmark["memory"] if benchmark else []:
        key = "dense" if each["method"] == "dense" else each["execution"]
        found.setdefault(each["network"], {})[key] = each["bytes"]
    return found


def race() -> pd.DataFrame:
    """The runs of ``python -m benchmarks --race``, a row each, with the columns of `records.tabulate` and
    `weights`, how many there are in layers."""
    found = [*records.records(display.folder() / RACE)]
    counts = [
        sum(round(layer.density[-1] * prod(layer.shape)) for layer in record.layers) for _, record in found
    ]
    return records.tabulate(found).assign(weights=counts)


def race_plot(runs: pd.DataFrame) -> go.Figure:
    """Test accuracy against seconds of training, a point a run; those with more weights are larger."""
    fig = go.Figure()
    groups: Any = runs.groupby(["method", "weights"], sort=False)
    for (method, weights), mine in groups:
        colour, _ = figures.look(str(method))
        fig.add_scatter(
            x=mine["wall_seconds"],
            y=mine["test_accuracy"],
            name=f"{names.method(str(method))}, {_thousands(weights)}",
            mode="markers",
            marker={"color": colour, "size": 3 * log2(weights / 1000)},
            customdata=[f"seed {seed}" for seed in mine["seed"]],
            hovertemplate="%{x:.1f} s, %{y:.2f} %<extra>%{fullData.name}, %{customdata}</extra>",
        )
    figures.styled(fig, xaxis_title="seconds of training", yaxis_title="test accuracy, %")
    low, high = _seen(runs)
    return fig.update_yaxes(range=[low, high])


def _seen(runs: pd.DataFrame) -> tuple[float, float]:
    """The accuracies that `race_plot` shows: one network too small to learn would flatten all others."""
    accuracy = runs["test_accuracy"]
    return max(accuracy.min(), accuracy.median() - SPAN) - 0.3, accuracy.max() + 0.6


def race_text(runs: pd.DataFrame) -> str:
    """What one sees in `race_plot`, in numbers: means over seeds."""
    small = runs[runs["method"] == "small-dense"]
    parts, better, slower = [], [], []
    for density, ours in runs[runs["method"] == "rigl"].groupby("density"):
        weights = ours["weights"].iloc[0]
        part = f"RigL at density {density:g} ({_thousands(weights)}): {_reached(ours)}"
        alike = small[(small["weights"] / weights - 1).abs() < ALIKE]
        if len(alike):
            part += f"; small-dense with as many weights: {_reached(alike)}"
            better.append(mean(ours["test_accuracy"]) > mean(alike["test_accuracy"]))
            slower.append(mean(ours["wall_seconds"]) > mean(alike["wall_seconds"]))
        named = small[small["density"] == density]
        if len(named):
            count = _thousands(named["weights"].iloc[0])
            part += f"; small-dense of the report's widths ({count}): {_reached(named)}"
        parts.append(part + ".")
    dense = runs[runs["method"] == "dense"]
    if len(dense):
        parts.append(f"Dense: {_reached(dense)}.")
    below = int((runs["test_accuracy"] < _seen(runs)[0]).sum())
    if below:
        parts.append(f"{below} runs lie below the plot.")
    if better:
        parts.insert(
            0,
            f"With as many weights as a small dense network, RigL is more accurate at {sum(better)} of "
            f"{len(better)} densities and takes longer at {sum(slower)}.",
        )
    return " ".join(parts)


def _reached(runs: pd.DataFrame) -> str:
    return f"{mean(runs['test_accuracy']):.2f} %, {mean(runs['wall_seconds']):.0f} s"


def _thousands(weights: int) -> str:
    return f"{weights / 1000:.0f}k weights"
