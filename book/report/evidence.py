"""What claims are judged by: settings of one protocol, data set and model, or of the report's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isnan, prod, sqrt
from statistics import fmean
from typing import Any

import pandas as pd

from book.report import display, names
from book.report.runs import SEEDS, Study, convolutional, expected_precision, printed_sample, published
from book.report.runs import settings as grouped
from book.report.statistics import Effect, Sample, Terms, Verdict, extent, sample, welch
from rigl.training.config import DATASETS
from rigl.training.records import Record

REPORT = "the report"
TUNED = "tuned"
REDISTRIBUTED = "rigl-sg", "rigl-sm"  # the report's: what somebody adds is in none of its claims
COLLAPSE = 5.0  # points below the best seed of the same setting
THIN = 2  # connections an output of the last layer, at which one dead hidden unit can take a class away
DEARER = 1.25  # times the training FLOPs, beyond which two settings do not cost alike


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed alone.

    density   None under a budget of FLOPs, which `variant` then names
    variant   what the run changed of its protocol, as in `runs.load`; ``"tuned"`` for the best of a search
    accuracy  test accuracy in percent; a diverged run counts as guessing
    costs     training FLOPs of each run, relative to dense
    printed   a row's accuracy as the report prints it
    doubt     which fault of the published code may touch a row of the report's, in words
    """

    method: str
    distribution: str | None
    density: float | None
    multiplier: int
    variant: str
    accuracy: Sample
    costs: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()
    records: tuple[Record, ...] = field(default=(), repr=False)
    validation: float = float("nan")
    collapsed: int = 0
    original: float = float("nan")
    printed: str = ""
    doubt: str = ""

    @property
    def text(self) -> str:
        """Its accuracy: mean and standard deviation in percent, the report's as printed."""
        return self.printed or shown(self.accuracy)

    @property
    def where(self) -> str:
        """Its masks, density, length and variant in words."""
        size = f"density {self.density:g}" if self.density is not None else ""
        longer = f"{self.multiplier}x" if self.multiplier > 1 else ""
        masks = names.masks(self.distribution) if self.distribution else ""
        return ", ".join(filter(None, [masks, size, longer, self.variant]))

    @property
    def label(self) -> str:
        """Its method, masks, density, length and variant in words."""
        return ", ".join(filter(None, [names.method(self.method), self.where]))


# What a verdict rests on, in the order of pages: the strongest evidence on the report's claims first.
GRADES = {
    "printed": "the report's printed numbers",
    "own": "the report's network and protocol",
    "shortened": "the report's network, trained a tenth as long",
    "small": "small convolutional network",
    "connected": "fully connected network",
}


@dataclass(frozen=True)
class Source:
    """All settings of one protocol, data set and model; the protocol of printed ones is `REPORT`."""

    protocol: str
    dataset: str
    model: str
    settings: tuple[Setting, ...] = field(repr=False)

    def like(self, **equal: Any) -> list[Setting]:
        """The settings with these values, by distribution and density; the usual ones by default."""
        wanted = {"variant": "", **equal}
        found = [each for each in self.settings if all(getattr(each, k) == v for k, v in wanted.items())]
        return sorted(found, key=lambda each: (each.distribution or "", each.density or 0, each.where))

    def partner(self, setting: Setting, **other: Any) -> Setting | None:
        """The setting that is like `setting` in all but `other`."""
        keys = ("method", "distribution", "density", "multiplier", "variant")
        return next(iter(self.like(**{**{key: getattr(setting, key) for key in keys}, **other})), None)

    @property
    def printed(self) -> bool:
        """Whether it is the report's tables."""
        return self.protocol == REPORT

    @property
    def grade(self) -> str:
        """How close its runs are to the report's: a key of `GRADES`."""
        named = {REPORT: "printed", "paper": "own", "tenth": "shortened"}
        return named.get(self.protocol, "small" if self.convolutional else "connected")

    @cached_property
    def convolutional(self) -> bool:
        """Whether weights are used at several positions, so that FLOPs and weights part ways."""
        record = next((record for each in self.settings for record in each.records), None)
        return convolutional(record) if record else not self.model.startswith("lenet")


@dataclass(frozen=True)
class Cell:
    """One comparison behind a verdict: what was measured on both sides, and what it says by itself.

    verdict  ``"undecided"`` until `claims.finding` judges the effect, but where there is nothing to judge
    seeds    how many there are on each side
    floor    whether the effect is at least what was found, so that it cannot speak against a claim
    stray    seeds far below the others of their setting, in words, and why
    doubt    which fault of the published code may touch either side, in words
    """

    where: str
    one: str
    other: str
    verdict: Verdict = "undecided"
    effect: Effect | None = None
    seeds: tuple[int, ...] = ()
    note: str = ""
    one_runs: tuple[str, ...] = ()
    other_runs: tuple[str, ...] = ()
    floor: bool = False
    stray: str = ""
    doubt: str = ""

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the records on both sides, each once; of the report's tables where the figures are its."""
        return tuple(dict.fromkeys(self.one_runs + self.other_runs))


def untested(note: str) -> Cell:
    """A cell of nothing, and why."""
    return Cell(where="-", one="-", other="-", verdict="not tested", note=note)


ALIKE = untested("without convolutions every weight costs alike, wherever it lies")


def gather(frame: pd.DataFrame, studies: Sequence[Study] = ()) -> list[Source]:
    """The sources in a frame of `runs.load`, and the best trials of `studies`, whose runs it has where it was
    loaded with those that were `searched`; presets other than the default are left out."""
    mine = frame[frame["preset"] == names.PRESET]
    plain = mine[~mine["searched"]]
    found = []
    for (protocol, dataset, model), part in plain.groupby(["protocol", "dataset", "model"]):
        made = [*_settings(part)]
        for study in studies:
            config, best = study.settings.config, study.best
            if best and (config.protocol, config.dataset, config.model) == (protocol, dataset, model):
                runs = [run.name for run in study.settings.runs(best.alpha, best.delta_t)]
                tried = display.named(mine, runs)
                tried = tried[tried["precision"] == expected_precision(str(protocol))]
                made += _settings(tried.assign(variant=TUNED))
        made += [replace(each, variant=TUNED) for each in made if _is_theirs(each)]
        found.append(Source(str(protocol), str(dataset), str(model), tuple(made)))
    return found


def reported(*tables: str) -> list[Source]:
    """The report's own numbers in `tables`, a source a data set; of one setting in several the first's."""
    rows = published()
    found = []
    for dataset, part in rows.groupby("dataset"):
        settings: dict[str, Setting] = {}
        for table in tables:
            for row in part[part["table"] == table].to_dict("records"):
                each = _printed(row)
                settings.setdefault(each.accuracy.name, each)
        found.append(Source(REPORT, str(dataset), str(part["model"].iloc[0]), tuple(settings.values())))
    return found


def pairs(source: Source, one: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[Setting, Setting]]:
    """Every setting of `one` with its partner that is alike in all but `other`, where there is one."""
    for left in source.like(**one):
        if right := source.partner(left, **other):
            yield left, right


def versus(
    source: Source, one: dict[str, Any], other: dict[str, Any], *, like_cost: bool = False
) -> Iterator[Cell]:
    """`one` less `other` in test accuracy, over their `pairs`; with `like_cost`, settings whose costs are too
    far apart are not tested."""
    for left, right in pairs(source, one, other):
        cell = difference(left.where, left, right)
        yield at_like_cost(cell, left, right) if like_cost else cell


def at_like_cost(cell: Cell, left: Setting, right: Setting) -> Cell:
    """`cell`, not tested where one side's training costs more than `DEARER` times the other's: a comparison
    at unlike cost is fair to neither claim nor rival."""
    times = ratio(left, right)
    if not times or 1 / DEARER <= times <= DEARER:
        return cell
    dearer, factor = (left, times) if times > 1 else (right, 1 / times)
    note = f"{names.method(dearer.method)} costs {factor:.2g} times as much to train"
    return replace(cell, verdict="not tested", note=note)


def difference(where: str, left: Setting, right: Setting) -> Cell:
    """`left` less `right`, by Welch over their seeds."""
    return compared(where, ((1.0, left.accuracy), (-1.0, right.accuracy)), left, right)


def compared(where: str, terms: Terms, left: Setting, *others: Setting) -> Cell:
    """A cell of `terms`, weighted samples of `left` and `others`."""
    effect = welch(terms)
    few = min(each.n for _, each in terms) < 2
    flat = effect.low == -inf and not few
    note = "fewer than two seeds on a side" if few else "no spread printed or measured" if flat else ""
    return Cell(
        where=where,
        one=left.text,
        other=" and ".join(each.text for each in others),
        effect=effect,
        seeds=(left.accuracy.n, *(each.accuracy.n for each in others)),
        note=note,
        one_runs=left.runs,
        other_runs=tuple(run for each in others for run in each.runs),
        stray="; ".join(filter(None, map(_stray, (left, *others)))),
        doubt="; ".join(dict.fromkeys(each.doubt for each in (left, *others) if each.doubt)),
    )


def _stray(setting: Setting) -> str:
    """Which seeds of a setting end `COLLAPSE` points or more below its best one, and what may have caused
    it."""
    scores = [record.test_accuracy or 0.0 for record in setting.records]
    low = [score for score in scores if score <= max(scores) - COLLAPSE]
    if not low:
        return f"{setting.label}: {shown(setting.accuracy)}" if setting.collapsed else ""
    kept = ", ".join(f"{score:.0f}" for score in sorted(scores, reverse=True))
    last = setting.records[0].layers[-1]
    connections, outputs = round(last.density[-1] * prod(last.shape)), last.shape[0]
    thin = f", with {connections} connections into {outputs} outputs" if connections <= THIN * outputs else ""
    return f"{setting.label}: seeds at {kept} %{thin}"


def dearness(source: Source, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Cell]:
    """Training FLOPs of `one` over those of `other`, of every pair of runs alike in all else."""
    for left, right in pairs(source, one, other):
        if left.costs and right.costs:
            times = extent([a / b for a in left.costs for b in right.costs])
            sides = f"{fmean(left.costs):.3f}", f"{fmean(right.costs):.3f}"
            yield counted(left.where, times, sides, left, right)


def counted(
    where: str, effect: Effect, sides: tuple[str, str], left: Setting, right: Setting | None = None
) -> Cell:
    """A cell of an effect that is counted over the runs of `left`, and of `right` where it has one."""
    found = [left, right] if right else [left]
    few = min(each.accuracy.n for each in found) < 2
    return Cell(
        where=where,
        one=sides[0],
        other=sides[1],
        verdict="no interval" if few else "undecided",
        effect=effect,
        seeds=tuple(each.accuracy.n for each in found),
        note=("fewer than two seeds on a side" if right else "fewer than two seeds") if few else "",
        one_runs=left.runs,
        other_runs=right.runs if right else (),
    )


def ratio(left: Setting, right: Setting) -> float:
    """Training FLOPs of `left` over those of `right`; 0 where either is unknown."""
    if not left.costs or not right.costs:
        return 0.0
    return fmean(left.costs) / fmean(right.costs)


def shown(found: Sample) -> str:
    """Mean and standard deviation in percent."""
    return display.accuracy(found.mean, found.std)


def _settings(part: pd.DataFrame) -> Iterator[Setting]:
    for row in grouped(part).to_dict("records"):
        values = pd.Series(row["accuracies"], dtype=float)
        guess = 100 / DATASETS[row["dataset"]].classes
        yield _named(
            Setting(
                method=row["method"],
                distribution=row["distribution"] if isinstance(row["distribution"], str) else None,
                density=None if pd.isna(row["size"]) else float(row["size"]),
                multiplier=int(row["multiplier"]),
                variant=row["variant"],
                accuracy=sample("", values.fillna(guess).tolist()),
                costs=tuple(map(float, row["costs"])),
                runs=row["names"],
                records=row["records"],
                validation=float(row["validation"]),
                collapsed=int((values.isna() | (values <= values.max() - COLLAPSE)).sum()),
            )
        )


def _named(setting: Setting) -> Setting:
    """With a sample that no other setting's is equal to by chance."""
    return replace(setting, accuracy=replace(setting.accuracy, name=setting.label))


def _is_theirs(setting: Setting) -> bool:
    """Whether a setting is one that the report found best (its Table 4)."""
    if setting.method != "rigl" or not setting.variant.startswith("alpha="):
        return False
    place = {key: getattr(setting, key) for key in ("distribution", "density", "variant")}
    return not published(table="table4", **place).empty


def _printed(row: Mapping[Any, Any]) -> Setting:
    """A row of the report's tables. The supplement's wall times are training FLOPs (Discrepancies)."""
    std = row.get("std", float("nan"))
    cost = row["train_flops"] if not isnan(row["train_flops"]) else row["wall_time"]
    dense_time = row["table"] == "supplement-table2" and row["wall_time"] == 1
    setting = Setting(
        method=row["method"],
        distribution=row["distribution"] if isinstance(row["distribution"], str) else None,
        density=float(row["density"]),
        multiplier=int(row["multiplier"]),
        variant=TUNED if row["variant"] else "",
        accuracy=printed_sample("", row),
        costs=() if isnan(cost) or dense_time else (float(cost),),
        runs=(str(row["table"]),),
        # Three seeds of which two agree lie std * sqrt(3) apart.
        collapsed=0 if isnan(std) else int(std * sqrt(SEEDS) > COLLAPSE),
        original=float(row["original"]),
        printed=display.printed(row["accuracy"], std),
        doubt=_doubt(row),
    )
    return _named(setting)


def _doubt(row: Mapping[Any, Any]) -> str:
    """The fault of the published code that may touch a printed row; the page on discrepancies has each with
    file, line and commit. Whether it did cannot be told from outside."""
    if row["method"] in ("lottery", "rigl-reinit"):
        return "the published code does not load the mask that such a run starts from"
    if (row["method"], row["distribution"], row["dataset"]) == ("static", "uniform", "cifar10"):
        return "what the published code labels as uniform fixed masks on CIFAR-10 is ERK, the stronger rival"
    return ""
