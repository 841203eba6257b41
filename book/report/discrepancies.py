"""The page on discrepancies: the report's numbers against each other and against the FLOP rules, what a
choice changes here, and what of a mask counts that another run found: how many weights each layer has, or
which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, names
from book.report.cost_calculator import FIXED, forward_ratio
from book.report.runs import SETTING, published, usual
from book.report.statistics import in_words, sample
from rigl.sparsity.flops import training_flops
from rigl.sparsity.shapes import Layer
from rigl.training.project import model_layers

LAST_DIGIT = 0.01 + 1e-9


def flops_that_differ() -> pd.DataFrame:
    """Rows of Tables 2 and 3 whose FLOPs are more than 0.01 from what the rules give: more than rounding or
    cutting off after two digits explains.

    Only constant-cost methods have FLOPs that follow from density and masks alone. Columns: data, setting,
    density, and for training and inference what is printed and what the rules give.
    """
    layers = model_layers()
    rows = []
    for table in ("table2", "table3"):
        for _, row in published(table=table).iterrows():
            small = row["method"] == "small-dense" and row["model"] == "wrn-22-2"
            if row["method"] not in ("dense", *FIXED) and not small:
                continue
            training, inference = _ratios(row, layers[f"{row['model']} on {row['dataset']}"])
            apart = abs(row["train_flops"] - training), abs(row["test_flops"] - inference)
            if max(apart) > LAST_DIGIT:
                rows.append(
                    {
                        **_setting(row),
                        "Training, printed": f"{row['train_flops']:.2f}",
                        "Training, by the rules": f"{training:.3f}",
                        "Inference, printed": f"{row['test_flops']:.2f}",
                        "Inference, by the rules": f"{inference:.3f}",
                    }
                )
    return pd.DataFrame(rows)


def tables_that_differ() -> pd.DataFrame:
    """Settings whose accuracy is not the same in all the report's tables that print it."""
    frame = published()
    frame = frame[(frame["table"] != "table1") & frame["variant"].eq("")]
    rows = []
    for _, part in frame.groupby([*SETTING], dropna=False):
        values = part.groupby("accuracy")["table"].agg(lambda found: sorted(set(found)))
        if len(values) > 1:
            words = [
                f"{accuracy:g} ({', '.join(map(names.table, where))})" for accuracy, where in values.items()
            ]
            rows.append({**_setting(part.iloc[0]), "Accuracy, %": "; ".join(words)})
    return pd.DataFrame(rows)


def costs_that_contradict() -> pd.DataFrame:
    """FLOPs that other rows of the same table contradict: inference that grew with the length of training,
    and lottery tickets whose training is not pruning's and a sparse run's together."""
    rows = []
    for table in ("table2", "table3"):
        frame = published(table=table)
        for _, row in frame.iterrows():
            same = _alike(frame, row)
            if row["multiplier"] > 1 and len(same) and same["test_flops"].iloc[0] != row["test_flops"]:
                rows.append(_contradiction(row, "inference", row["test_flops"], same["test_flops"].iloc[0]))
            if row["method"] == "lottery":
                pruning = _alike(frame, row, method="pruning").iloc[0]
                expected = pruning["train_flops"] + row["test_flops"]
                if abs(expected - row["train_flops"]) > LAST_DIGIT:
                    rows.append(_contradiction(row, "training", row["train_flops"], expected))
    return pd.DataFrame(rows)


def collapsed_seed(mean: float, std: float, seeds: int = 3) -> tuple[float, float]:
    """(accuracy of the seeds that agree, accuracy of the one that does not) that `mean` and the sample's
    `std` over `seeds` come from, if all but one seed agree."""
    apart = std * sqrt(seeds)
    return mean + apart / seeds, mean + apart / seeds - apart


def wall_times_that_are_flops() -> tuple[int, int]:
    """(rows of the supplement's Table 2 whose wall time is the printed training FLOPs, rows compared): the
    structured and the small dense networks."""
    frame = published(table="supplement-table2")
    frame = frame[frame["method"].isin(["rigl-struct", "small-dense"])]
    costs = published()
    costs = costs[costs["table"].isin(["table2", "table3"])]
    equal = 0
    for _, row in frame.iterrows():
        other = _alike(costs, row, method="rigl" if row["method"] == "rigl-struct" else row["method"])
        equal += bool(len(other)) and float(other["train_flops"].iloc[0]) == float(row["wall_time"])
    return equal, len(frame)


def counted_against_closed_form(frame: pd.DataFrame) -> pd.DataFrame:
    """Training FLOPs of the usual RigL runs in `frame`, by the closed form and as counted, a row a
    protocol, model, distribution and density; runs from before steps were counted are left out. A count
    opens its runs."""
    mine = usual(frame[frame["multiplier"].eq(1) & frame["method"].isin(["rigl", "rigl-reinit"])])
    costs = [
        {
            "Setting": f"{names.setting(config.method, config.distribution_name)}, {config.size}",
            "Model": names.place(config.model, config.dataset),
            "Protocol": config.protocol,
            "closed": cost.training / (3 * cost.dense_forward),
            "counted": cost.counted / (3 * cost.dense_forward),
            "name": record.name,
        }
        for record in mine["record"]
        if (config := record.config) and (cost := record.flops).counted is not None
    ]
    if not costs:
        return pd.DataFrame()
    rows = []
    for place, part in pd.DataFrame(costs).groupby(["Setting", "Model", "Protocol"]):
        setting = dict(zip(["Setting", "Model", "Protocol"], place, strict=True))
        closed, counted = part["closed"].mean(), part["counted"].mean()
        rows.append(
            {
                **setting,
                "Closed form, x": f"{closed:.4f}",
                "Counted, x": _opened(f"{counted:.4f}", "counted", setting, frame, [*part["name"]]),
                "Closed form is above by": f"{100 * (closed / counted - 1):.1f} %",
            }
        )
    return pd.DataFrame(rows)


def remarks() -> str:
    """What the checks on single cells found, in Markdown."""
    row = published(table="table2", method="set", multiplier=2, density=0.1).iloc[0]
    usual, odd = collapsed_seed(row["accuracy"], row["std"])
    equal, compared = wall_times_that_are_flops()
    return (
        f"Table 2 prints {row['accuracy']:g} ± {row['std']:g} for SET trained twice as long at density 0.1. "
        f"Three seeds of which two agree give that when those two reach {usual:.1f} % and the third "
        f"{odd:.1f} %, as if one run had collapsed.\n\nOf the {compared} wall times of small-dense and "
        f"RigL-struct in the supplement's Table 2, {equal} are the training FLOPs that Tables 2 and 3 print "
        "for small-dense and for RigL without structure at the same density and masks, as if they had not "
        f"been measured.\n\n{_repeated()}"
    )


def _repeated() -> str:
    """Rows of Tables 2 and 3 that print the very accuracy and spread of a row trained for a shorter time."""
    found = []
    for table in ("table2", "table3"):
        for _, rows in published(table=table).groupby([*SETTING[:-1]], dropna=False):
            for _, same in rows.groupby(["accuracy", "std"]):
                if len(same) > 1:
                    row, lengths = same.iloc[0], sorted(same["multiplier"])
                    printed = display.accuracy(row["accuracy"], row["std"])
                    where = f"{names.method(row['method'])} at density {row['density']:g}"
                    found.append(f"{where}, {lengths[-1]}x, as {printed}, the numbers of {lengths[0]}x")
    return f"Accuracies printed twice: {'; '.join(found)}." if found else ""


def paired(frame: pd.DataFrame, column: str, first: Any, second: Any) -> pd.DataFrame:
    """What going from `first` to `second` in `column` changes, over runs alike in all else, seed included.

    One row a setting: the mean difference of test accuracy in points, its sample standard deviation over
    seeds (missing for one), how many seeds, and the names of the runs on both sides.
    """
    keys = [key for key in (*SETTING, "protocol", "preset", "variant") if key != column]
    done = frame[frame["test_accuracy"].notna()].assign(
        test_accuracy=pd.to_numeric(frame["test_accuracy"]), distribution=frame["distribution"].fillna("-")
    )
    left, right = (
        done[done[column] == value][[*keys, "seed", "test_accuracy", "name"]] for value in (first, second)
    )
    both = left.merge(right, on=[*keys, "seed"], suffixes=("_first", "_second"))
    both["change"] = both["test_accuracy_second"] - both["test_accuracy_first"]
    found: pd.DataFrame = both.groupby(keys, as_index=False).agg(
        first=("test_accuracy_first", "mean"),
        second=("test_accuracy_second", "mean"),
        change=("change", "mean"),
        std=("change", "std"),
        seeds=("change", "count"),
        first_names=("name_first", tuple),
        second_names=("name_second", tuple),
    )
    return found


def readable_pairs(frame: pd.DataFrame, pairs: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """`paired` for people; `first` and `second` head the columns of mean accuracies, which open their runs,
    rows of `frame`."""
    return pd.DataFrame(
        [
            {
                **(setting := _setting_of(row)),
                f"{first}, %": _opened(f"{row['first']:.2f}", first, setting, frame, row["first_names"]),
                f"{second}, %": _opened(f"{row['second']:.2f}", second, setting, frame, row["second_names"]),
                "Change, points": f"{row['change']:+.2f}"
                + ("" if pd.isna(row["std"]) else f" ± {row['std']:.2f}"),
                "Seeds": row["seeds"],
            }
            for _, row in pairs.iterrows()
        ]
    )


def _setting_of(row: pd.Series) -> dict[str, str]:
    """Where a pair of runs stands."""
    masks = None if row["distribution"] == "-" else row["distribution"]
    setting = names.setting(row["method"], masks, row["multiplier"], variant=row.get("variant", ""))
    return {"Setting": f"{setting}, density {row['density']:g}", "Model": names.network(row["model"])}


def _opened(
    shown: str, which: str, setting: Mapping[Any, Any], frame: pd.DataFrame, found: Sequence[str]
) -> Markup:
    label = ", ".join([which, *map(str, setting.values())])
    return display.runs_behind(shown, label, f"{label}-{found[0]}", display.named(frame, found))


def _ratios(row: pd.Series, layers: Sequence[Layer]) -> tuple[float, float]:
    """Training and inference FLOPs of a published setting by the rules, relative to dense."""
    sparse = forward_ratio(layers, row["method"], row["distribution"], row["density"])
    return training_flops(row["method"], 1.0, sparse, multiplier=row["multiplier"]) / 3, sparse


def _alike(frame: pd.DataFrame, row: pd.Series, **other: Any) -> pd.DataFrame:
    """The published rows in `frame` of the setting of `row`, once as long as usual, but for `other`."""
    wanted: dict[str, Any] = {**{key: row[key] for key in SETTING}, "multiplier": 1, **other}
    same = [frame[key].eq(value) | (frame[key].isna() & pd.isna(value)) for key, value in wanted.items()]
    found: pd.DataFrame = frame[pd.concat(same, axis=1).all(axis=1)]
    return found


def _setting(row: pd.Series) -> dict[str, str]:
    return {
        "Data": names.dataset(row["dataset"]),
        "Setting": names.setting(row["method"], row["distribution"], row["multiplier"]),
        "Density": f"{row['density']:g}",
    }


def _contradiction(row: pd.Series, what: str, printed: float, expected: float) -> dict[str, str]:
    return {
        **_setting(row),
        "FLOPs of": what,
        "Printed": f"{printed:.2f}",
        "By other rows": f"{expected:.2f}",
    }


# From a usual run to one that starts from a mask that another run found: method, masks, and both in words.
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
    ("rigl", "as rigl-sm-uniform", "RigL from RigL-SM's densities, masks drawn again"),
    ("rigl-reinit", "uniform", "RigL from RigL-SM's mask"),
    ("rigl-sm", "uniform", "RigL-SM itself"),
)
# Which two of them are compared, the second less the first.
PAIRS = {
    TICKET: ((2, 4), (3, 4), (2, 3), (0, 1)),
    AGAIN: ((0, 1), (0, 2), (1, 2)),
}


def steps_table(frame: pd.DataFrame, steps: Steps) -> pd.DataFrame:
    """The `steps` in the runs in `frame` of one protocol and data set, a row a model, density and
    step, over the seeds that all steps have; an accuracy opens its runs."""
    rows = []
    for model, density, found in _complete(frame, steps):
        for (method, masks, words), runs in zip(steps, found, strict=True):
            label = f"{words}: {names.method(method)}, {model}, density {density:g}"
            rows.append(
                {
                    "Training": words,
                    "Method": names.method(method),
                    "Masks": names.masks(masks),
                    "Model": model,
                    "Density": f"{density:g}",
                    "Accuracy, %": display.accuracy_of(runs, label, f"step-{label}"),
                    "Seeds": len(runs),
                }
            )
    return pd.DataFrame(rows)


def steps_verdict(frame: pd.DataFrame, steps: Steps) -> str:
    """What the steps differ by, a line a model, density and pair of `PAIRS`."""
    lines = []
    for model, density, found in _complete(frame, steps):
        samples = [
            sample(words, runs["test_accuracy"].astype(float).tolist())
            for (_, _, words), runs in zip(steps, found, strict=True)
        ]
        for one, other in PAIRS[steps]:
            a, b = samples[other], samples[one]
            what = f"{model}, density {density:g}, {a.name} against {b.name}"
            lines.append(f"- {what}: {in_words(a, b)}.")
    return "\n".join(lines) or "Too few runs yet to say."


def steps_reported() -> str:
    """Where the report's tables have lottery tickets and re-initialised runs at density 0.1, in Markdown."""
    lines = []
    for table, data in (("table2", "cifar10"), ("table3", "cifar100")):
        again = _printed("table5", data, "rigl-reinit", "uniform")
        ticket, pruned = (_printed(table, data, method) for method in ("lottery", "pruning"))
        moved, fixed = _printed(table, data, "rigl", "erk"), _printed(table, data, "static", "uniform")
        lines.append(
            f"- {names.dataset(data)}: tickets {ticket:g} %, pruning {pruned:g} %, RigL (ERK) {moved:g} %, a "
            f"fixed random mask (uniform) {fixed:g} %; RigL once more from the mask of RigL-SM "
            f"(uniform) {again:g} %."
        )
    return "\n".join(lines)


def _printed(table: str, dataset: str, method: str, masks: str | None = None) -> float:
    found = published(table=table, dataset=dataset, method=method, density=0.1, multiplier=1)
    return float(found[found["distribution"].fillna("-") == (masks or "-")]["accuracy"].iloc[0])


def _complete(frame: pd.DataFrame, steps: Steps) -> list[tuple[str, float, list[pd.DataFrame]]]:
    """(model, density, runs of each step) where every step has runs, and the seeds that all of them have."""
    done = usual(frame[frame["multiplier"].eq(1) & frame["test_accuracy"].notna()], "densities given")
    made = []
    for _, part in done.groupby(["model", "density"]):
        each = [
            part[part["method"].eq(method) & part["distribution"].fillna("-").eq(masks or "-")]
            for method, masks, _ in steps
        ]
        seeds = set.intersection(*(set(runs["seed"]) for runs in each))
        if seeds:
            model, density = names.network(part["model"].iloc[0]), float(part["density"].iloc[0])
            made.append((model, density, [runs[runs["seed"].isin(seeds)] for runs in each]))
    return made
