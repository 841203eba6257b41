"""What of a mask that was found counts: how many weights each layer has, or which these are."""

from __future__ import annotations

import pandas as pd

from book.report import behind, tables
from book.report.published import published
from book.report.statistics import Sample, apart, in_words, sample

# From a usual run to one that begins with a mask that was found: method, masks, and both in words.
Steps = tuple[tuple[str, str | None, str], ...]
TICKET: Steps = (
    ("static", "erk", "random masks, ERK's densities"),
    ("static", "as pruning", "random masks, pruning's densities"),
    ("rigl", "erk", "RigL from ERK's densities"),
    ("rigl", "as pruning", "RigL from pruning's densities"),
    ("lottery", None, "pruning's mask, the same first values"),
    ("pruning", None, "pruning itself"),
)
AGAIN: Steps = (
    ("rigl", "uniform", "RigL from uniform densities"),
    ("rigl", "as rigl-sm-uniform", "RigL from RigL-SM's densities, masks drawn anew"),
    ("rigl-reinit", "uniform", "RigL from RigL-SM's mask"),
    ("rigl-sm", "uniform", "RigL-SM itself"),
)
# Which two of them are told apart in words, the second less the first.
PAIRS = {
    TICKET: ((2, 4), (3, 4), (2, 3), (0, 1)),
    AGAIN: ((0, 1), (0, 2), (1, 2)),
}


def table(frame: pd.DataFrame, steps: Steps) -> pd.DataFrame:
    """The `steps` in the runs of `results.runs` of one protocol and data set, a row a model, density and
    step, over the seeds that all steps have; an accuracy opens its runs."""
    rows = []
    for model, density, found in _complete(frame, steps):
        for (method, masks, words), runs in zip(steps, found, strict=True):
            label = f"{words}: {method}, {model}, density {density:g}"
            values = _sample(words, runs)
            shown = tables.accuracy(values.mean, values.std)
            rows.append(
                {
                    "Training": words,
                    "Method": method,
                    "Masks": masks or "-",
                    "Model": model,
                    "Density": f"{density:g}",
                    "Accuracy, %": behind.runs(shown, label, f"step-{label}", runs),
                    "Seeds": values.n,
                }
            )
    return pd.DataFrame(rows)


def verdict(frame: pd.DataFrame, steps: Steps) -> str:
    """What the steps differ by, a line a model, density and pair of `PAIRS`."""
    lines = []
    for model, density, found in _complete(frame, steps):
        samples = [_sample(words, runs) for (_, _, words), runs in zip(steps, found, strict=True)]
        for one, other in PAIRS[steps]:
            a, b = samples[other], samples[one]
            told = in_words(apart(a, b)) if min(a.n, b.n) > 1 else "a single seed"
            what = f"{model}, density {density:g}, {a.name} against {b.name}"
            lines.append(f"- {what}: {a.mean - b.mean:+.2f} points, {told}.")
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


def _complete(frame: pd.DataFrame, steps: Steps) -> list[tuple[str, float, list[pd.DataFrame]]]:
    """(model, density, runs of each step) where every step has runs, and the seeds that all of them have."""
    usual = frame["variant"].isin(["", "densities given"])
    plain = usual & frame["preset"].eq("repro2021") & frame["multiplier"].eq(1)
    done = frame[plain & frame["test_accuracy"].notna()]
    made = []
    for _, part in done.groupby(["model", "density"]):
        each = [
            part[part["method"].eq(method) & part["distribution"].fillna("-").eq(masks or "-")]
            for method, masks, _ in steps
        ]
        seeds = set.intersection(*(set(runs["seed"]) for runs in each))
        if seeds:
            model, density = str(part["model"].iloc[0]), float(part["density"].iloc[0])
            made.append((model, density, [runs[runs["seed"].isin(seeds)] for runs in each]))
    return made


def _sample(name: str, runs: pd.DataFrame) -> Sample:
    return sample(name, runs["test_accuracy"].astype(float).tolist())
