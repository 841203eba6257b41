"""What of a lottery ticket counts: how many weights each layer has, or which these are."""

from __future__ import annotations

import pandas as pd

from rigl.report import behind, tables
from rigl.report.published import published
from rigl.report.statistics import Sample, in_words, sample, welch

LAYERS = "as pruning"  # in `results.runs`: masks drawn anew with the densities of a pruned network's layers
# From a random mask to the ticket: method, masks, and both in words.
STEPS = (
    ("static", "erk", "random masks, ERK's densities"),
    ("static", LAYERS, "random masks, pruning's densities"),
    ("rigl", "erk", "RigL from ERK's densities"),
    ("rigl", LAYERS, "RigL from pruning's densities"),
    ("lottery", None, "pruning's mask, the same first values"),
    ("pruning", None, "pruning itself"),
)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The steps to a ticket in the runs of `results.runs` of one protocol and data set, a row a model,
    density and step, over the seeds that all steps have; an accuracy opens its runs."""
    rows = []
    for model, density, found in _complete(frame):
        for (method, masks, words), runs in zip(STEPS, found, strict=True):
            label = f"{words}: {method}, {model}, density {density:g}"
            values = sample(label, runs["test_accuracy"].astype(float).tolist())
            shown = tables.accuracy(values.mean, values.std)
            rows.append(
                {
                    "Model": model,
                    "Density": f"{density:g}",
                    "Method": method,
                    "Masks": masks or "-",
                    "What that is": words,
                    "Accuracy, %": behind.runs(shown, label, f"ticket-{label}", runs),
                    "Seeds": values.n,
                }
            )
    return pd.DataFrame(rows)


def verdict(frame: pd.DataFrame) -> str:
    """What the steps differ by, a line a model and density."""
    lines = []
    for model, density, found in _complete(frame):
        each = {(method, masks): _sample(runs) for (method, masks, _), runs in zip(STEPS, found, strict=True)}
        ticket = each["lottery", None]
        told = (
            ("The ticket against RigL from ERK", ticket, each["rigl", "erk"]),
            ("the ticket against RigL with its layers' densities", ticket, each["rigl", LAYERS]),
            ("these densities against ERK's under RigL", each["rigl", LAYERS], each["rigl", "erk"]),
            ("and with a fixed random mask", each["static", LAYERS], each["static", "erk"]),
        )
        parts = [f"{words} {a.mean - b.mean:+.2f} points, {_words(a, b)}" for words, a, b in told]
        lines.append(f"- {model}, density {density:g}: {'; '.join(parts)}.")
    return "\n".join(lines) or "Too few runs yet to say."


def reported() -> str:
    """Where the report's tables have lottery tickets and re-initialised runs at density 0.1, in Markdown."""
    lines = []
    for table, data, words in (("table2", "cifar10", "CIFAR-10"), ("table3", "cifar100", "CIFAR-100")):
        again = _printed("table5", data, "rigl-reinit", "uniform")
        ticket, pruned = (_printed(table, data, method) for method in ("lottery", "pruning"))
        moved, fixed = _printed(table, data, "rigl", "erk"), _printed(table, data, "static", "uniform")
        lines.append(
            f"- {words}: tickets {ticket:g} %, pruning {pruned:g} %, RigL (ERK) {moved:g} %, a fixed random "
            f"mask (uniform) {fixed:g} %; RigL once more from the mask of RigL-SM (uniform) {again:g} %."
        )
    return "\n".join(lines)


def _printed(table: str, dataset: str, method: str, masks: str | None = None) -> float:
    found = published(table=table, dataset=dataset, method=method, density=0.1, multiplier=1)
    return float(found[found["distribution"].fillna("-") == (masks or "-")]["accuracy"].iloc[0])


def _complete(frame: pd.DataFrame) -> list[tuple[str, float, list[pd.DataFrame]]]:
    """(model, density, runs of each step) where every step has runs, and the seeds that all of them have."""
    usual = frame["variant"].eq("") | frame["distribution"].eq(LAYERS)
    plain = usual & frame["preset"].eq("repro2021") & frame["multiplier"].eq(1)
    done = frame[plain & frame["test_accuracy"].notna()]
    made = []
    for _, part in done.groupby(["model", "density"]):
        steps = [
            part[part["method"].eq(method) & part["distribution"].fillna("-").eq(masks or "-")]
            for method, masks, _ in STEPS
        ]
        seeds = set.intersection(*(set(each["seed"]) for each in steps))
        if seeds:
            model, density = str(part["model"].iloc[0]), float(part["density"].iloc[0])
            made.append((model, density, [each[each["seed"].isin(seeds)] for each in steps]))
    return made


def _sample(runs: pd.DataFrame) -> Sample:
    return sample(str(runs["name"].iloc[0]), runs["test_accuracy"].astype(float).tolist())


def _words(a: Sample, b: Sample) -> str:
    if min(a.n, b.n) < 2:
        return "a single seed"
    return in_words(welch(((1.0, a), (-1.0, b))))
