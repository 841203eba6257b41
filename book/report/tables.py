"""The report's tables beside ours: a row a setting, with the report's numbers and the runs of it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import isnan, nan, sqrt
from typing import Any

import pandas as pd

from book.report import display, names
from book.report.runs import expected_precision, experiments, printed_sample, published, usual
from book.report.statistics import Sample, apart, clear, interval, sample
from rigl.training.config import RunConfig

SETUPS = {  # network and data that the pages show under each protocol
    "paper": (("cifar10", "wrn-22-2"), ("cifar100", "resnet-50")),
    "tenth": (("cifar10", "wrn-22-2"), ("cifar100", "resnet-50")),
    "laptop": (
        ("fashion-mnist", "lenet-300-100"),
        ("fashion-mnist", "wrn-10-1"),
        ("cifar10", "wrn-10-2"),
        ("cifar100", "wrn-10-2"),
    ),
    "smoke": (("digits", "lenet-300-100"),),
}
REPORTED = ("cifar10", "cifar100")
OWN = "paper"  # the protocol that is the report's own


@dataclass(frozen=True)
class Row:
    """A row of a table: its setting at one seed, its runs, rows of `runs.load`, the report's row, where
    it has one, for the data set that is compared with, and the runs' precision where it is not the usual."""

    config: RunConfig
    runs: pd.DataFrame
    report: Mapping[str, Any] | None
    precision: str = ""

    @property
    def accuracies(self) -> pd.Series:
        """Test accuracies, percent, of the runs that finished."""
        return self.runs["test_accuracy"].astype(float).dropna()

    @property
    def mean(self) -> float:
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        return float(self.accuracies.std())

    @property
    def label(self) -> str:
        """The row in words, as ``"RigL (ERK), 2x, density 0.1"``."""
        size = "" if self.config.method == "dense" else f", {self.config.size}"
        return self.setting + size

    @property
    def setting(self) -> str:
        """Method, masks and length in words, and the precision where it is not the usual."""
        config = self.config
        return names.setting(
            config.method, config.distribution_name, config.multiplier, variant=self.precision
        )

    @property
    def sample(self) -> Sample:
        """Mean and deviation over its seeds."""
        return sample(self.label, self.accuracies.tolist())

    @property
    def reported_sample(self) -> Sample:
        """The same of the report's seeds."""
        return printed_sample(self.label, {"accuracy": nan} if self.report is None else self.report)

    def reported(self, column: str) -> float:
        """The report's figure; NaN where it has none."""
        value = None if self.report is None else self.report.get(column)
        return nan if value is None else float(value)


def rows(
    name: str,
    frame: pd.DataFrame,
    *,
    protocol: str,
    dataset: str,
    model: str,
    seeds: Sequence[int] | None = None,
) -> list[Row]:
    """The rows of a table or figure of `experiments`, by density and in its order, with the runs of
    `frame` at `seeds` (None: at any).

    A run belongs to a row if it has its very settings, hash and all; runs in another precision than the usual
    are a row of their own. Rows are at the report's densities,
    under ``"laptop"`` at all that the model has runs at; the report's figures are those for `dataset`, or
    CIFAR-10 where it did not train on that.
    """
    densities = _densities(frame, dataset, model) if protocol == "laptop" else None
    options: dict[str, Any] = {
        "protocol": protocol,
        "dataset": dataset,
        "model": model,
        "densities": densities,
    }
    found = [seed for seed in sorted(set(frame["seed"])) if seeds is None or seed in seeds]
    reported = published(dataset=dataset if dataset in REPORTED else REPORTED[0], table=name)
    theirs: dict[Any, Any] = {(each["row"], each["density"]): each for each in reported.to_dict("records")}
    places = {each: place for place, each in enumerate(frame["name"])}
    precisions = frame["precision"].tolist()
    made = []
    for text, config in experiments.rows(name, **options):
        every = [config.model_copy(update={"seed": seed}).name for seed in found]
        mine: dict[str, list[int]] = {expected_precision(config.protocol): []}
        for place in [places[each] for each in every if each in places]:
            mine.setdefault(precisions[place], []).append(place)
        report = theirs.get((text, config.density))
        plain, *others = [(kind, frame.iloc[at]) for kind, at in mine.items()]
        made.append(Row(config, plain[1], report))
        made += [Row(config, runs, report, kind) for kind, runs in others]
    return sorted(made, key=lambda row: row.config.density or row.config.flops or 1)


def _densities(frame: pd.DataFrame, dataset: str, model: str) -> list[float]:
    """The densities that small networks have plain runs of RigL at, or the ones that they are to have."""
    mine = frame[(frame["dataset"] == dataset) & (frame["model"] == model) & (frame["protocol"] == "laptop")]
    plain = usual(mine[(mine["method"] == "rigl") & (mine["multiplier"] == 1)])
    return sorted({*map(float, plain["density"])}) or list(experiments.usual_densities("laptop", dataset, ()))


@dataclass(frozen=True)
class Setup:
    """A network on a data set under a protocol, and its runs at `seeds` (None: at any) in a frame."""

    protocol: str
    dataset: str
    model: str
    seeds: tuple[int, ...] | None
    frame: pd.DataFrame

    @property
    def title(self) -> str:
        return names.place(self.model, self.dataset)

    @property
    def own(self) -> pd.DataFrame:
        """Its rows of the frame."""
        mine = self.frame[(self.frame["protocol"] == self.protocol) & (self.frame["dataset"] == self.dataset)]
        mine = mine[mine["model"] == self.model]
        return mine if self.seeds is None else mine[mine["seed"].isin(self.seeds)]

    @property
    def usual(self) -> pd.DataFrame:
        """Its finished usual runs."""
        mine = usual(self.own)
        return mine[mine["test_accuracy"].notna()]

    def rows(self, name: str) -> list[Row]:
        """The `rows` of a table or figure."""
        asked = {"protocol": self.protocol, "dataset": self.dataset, "model": self.model}
        return rows(name, self.frame, seeds=self.seeds, **asked)

    @cached_property
    def dense(self) -> Row:
        """The dense network, as in the report's main table for the data set."""
        main = "table3" if self.dataset == "cifar100" else "table2"
        return next(row for row in self.rows(main) if row.config.method == "dense")


def top(found: Sequence[Row], otherwise: Row) -> Row:
    """The dense network that a table's rows are compared with: its own, as in Table 1, or else
    `otherwise`."""
    return next((row for row in found if row.config.method == "dense"), otherwise)


def table(name: str, found: Sequence[Row], dense: Row, place: str) -> pd.DataFrame:
    """Rows in words under two levels of headings; a cell of ours opens its runs. `place` sets the page's
    cells apart from those of other tables.

    Under the report's own protocol its numbers stand beside ours, as it prints them, with ours less the
    report's in points and the standard error of that. Elsewhere accuracies and costs are no match: there only
    how far each is below the row `dense`, in the report and here, stands side by side.
    """
    described = _beside if dense.config.protocol == OWN else _apart
    lines = []
    for row in found:
        size = {
            ("", "Setting"): _setting(name, row),
            ("", "Density"): "-" if row.config.density is None else f"{row.config.density:g}",
            ("", "Budget, x"): "-" if row.config.flops is None else f"{row.config.flops:g}",
        }
        cell = ours(row, f"{place}-{name}-{row.config.run_id}{row.precision}")
        lines.append(size | described(row, dense, cell))
    every = list(dict.fromkeys(head for line in lines for head in line))
    filled = {head for line in lines for head, cell in line.items() if cell not in ("-", "not run")}
    heads = [head for head in every if head in filled or head == ("", "Setting")]
    cells = [[line[head] for head in heads] for line in lines]
    return pd.DataFrame(cells, columns=pd.MultiIndex.from_tuples(heads))


def _beside(row: Row, dense: Row, cell: str) -> dict[tuple[str, str], str]:
    """A row's numbers beside the report's."""
    line = {
        ("Accuracy, %", "report"): display.printed(row.reported("accuracy"), row.reported("std")),
        ("Accuracy, %", "original"): display.printed(row.reported("original")),
        ("Accuracy, %", "ours"): cell,
        ("Accuracy, %", "seeds"): _seeds(row),
        ("Accuracy, %", "ours - report"): _difference(row),
    }
    for kind, column in (("Training", "train_flops"), ("Inference", "test_flops")):
        line[f"{kind} FLOPs, x", "report"] = _ratio(row.reported(column))
        line[f"{kind} FLOPs, x", "ours"] = _ratio(float(row.runs[column].mean()))
    return line | {("Wall time, x", "report"): _ratio(row.reported("wall_time"))}


def _apart(row: Row, dense: Row, cell: str) -> dict[tuple[str, str], str]:
    """A row's numbers, and how far it is below dense, beside how far it is in the report."""
    alike = row.precision == dense.precision
    theirs = "report"
    if dense.report is not None:
        theirs += f": {names.place(dense.report['model'], dense.report['dataset'])}"
    return {
        ("", "Accuracy, %"): cell,
        ("", "Seeds"): _seeds(row),
        ("Points below dense", "ours"): _below(row.mean, dense.mean if alike else nan),
        ("Points below dense", theirs): _below(row.reported("accuracy"), dense.reported("accuracy")),
        ("", "Training FLOPs, x"): _ratio(float(row.runs["train_flops"].mean())),
        ("", "Inference FLOPs, x"): _ratio(float(row.runs["test_flops"].mean())),
    }


def _setting(name: str, row: Row) -> str:
    """A row in words, with what it changes of its protocol but for its budget, which has a column."""
    changed = row.config.changes("preset", *(["validation"] if name == "table1" else []))
    variant = ", ".join(each for each in changed.split(", ") if not each.startswith("flops="))
    return ", ".join(filter(None, [row.setting, names.changed(variant)]))


def ours(row: Row, place: str) -> str:
    """Mean and spread of a row's runs, as a button that opens them."""
    if row.runs.empty:
        return "not run"
    return display.accuracy_of(row.runs, f"{row.label}, protocol “{row.config.protocol}”", place)


def command(name: str, setup: Setup) -> str:
    """The shell command that runs what a table or figure lacks."""
    where = f"--protocol {setup.protocol} --dataset {setup.dataset} --model {setup.model}"
    return f"python -m rigl.campaign run {name} {where}"


@dataclass(frozen=True)
class Ranks:
    """Of the pairs of settings of one density that the report tells apart: how many come out alike here, how
    many are not told apart, and in words each that comes out the other way."""

    alike: int
    open: int
    other: tuple[str, ...]

    @property
    def pairs(self) -> int:
        return self.alike + self.open + len(self.other)

    @property
    def told(self) -> str:
        """The counts in a sentence."""
        return (
            f"Of {self.pairs} pairs of settings of one density that the report tells apart, {self.alike} "
            f"come out the same way here, {self.open} are not told apart, and {len(self.other)} come out the "
            "other way."
        )


def ranks(found: Sequence[Row]) -> Ranks:
    """How ours rank the settings that the report tells apart: two are told apart where Welch's interval of
    their difference over seeds leaves 0 out."""
    alike, open_, other = 0, 0, []
    usable = [row for row in found if len(row.accuracies) > 1 and not isnan(row.reported("std"))]
    for a, b in combinations(usable, 2):
        alone = (a.config.density, a.precision) == (b.config.density, b.precision)
        if not alone or not clear(theirs := apart(a.reported_sample, b.reported_sample)):
            continue
        mine = apart(a.sample, b.sample)
        if not clear(mine):
            open_ += 1
        elif mine.value * theirs.value > 0:
            alike += 1
        else:
            other.append(
                f"- {a.label} against {b.label}: {mine.value:+.2f} points here ({interval(mine)}), "
                f"{theirs.value:+.2f} in the report ({interval(theirs)})."
            )
    return Ranks(alike, open_, tuple(other))


def ranking(found: Sequence[Row]) -> str:
    """`ranks` in Markdown. Nothing where no pair can be compared."""
    made = ranks(found)
    if not made.pairs:
        return ""
    chance = "(Each by its own interval: of pairs that do not differ, one in twenty seems to.)"
    return f"{made.told} {chance}\n\n" + "\n".join(made.other)


def _seeds(row: Row) -> str:
    diverged = len(row.runs) - len(row.accuracies)
    return str(len(row.accuracies)) + (f" ({diverged} diverged)" if diverged else "")


def _difference(row: Row) -> str:
    apart = row.mean - row.reported("accuracy")
    if isnan(apart):
        return "-"
    error = sqrt(row.sample.variance + row.reported_sample.variance)
    return f"{apart:+.2f}" if isnan(error) else f"{apart:+.2f} ± {error:.2f}"


def _below(value: float, dense: float) -> str:
    return "-" if isnan(dense - value) else f"{dense - value:.2f}"


def _ratio(value: float) -> str:
    return "-" if isnan(value) else f"{value:.2f}"
