"""The report's claims as code: what each compares, and the verdict that the records lead to.

A claim is true where its effect lies in a region, such as "above 0 points" or "within half a point". It
holds where the whole interval lies in that region, does not hold where the interval lies outside, and is
undecided where it does both. Without two seeds on each side there is no interval. Protocols, data sets and
models are never mixed: each has a verdict of its own, and so have the report's printed figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import pandas as pd

from book.report import comparisons
from book.report.comparisons import Comparison
from book.report.evidence import COLLAPSE, DEARER, GRADES, Cell, Source, gather, reported
from book.report.runs import Study
from book.report.statistics import Effect, Region, Verdict, among, judge, pool, wild

MARGIN = 0.5  # points: less counts as noise
LEAST = 0.1  # points: the last digit that the report prints; a lead that is surely smaller is none
MORE = 1.1  # times the FLOPs: less is no price
BETTER = Region(low=0.0, least=LEAST)
WORSE = Region(high=0.0)
REACHES = Region(low=-MARGIN)
NO_BETTER = Region(high=MARGIN)
COSTS_MORE = Region(low=MORE)
SAME = 0.3  # points, of Table 1
UNKNOWN = ("no interval", "not tested")  # verdicts where nothing can tell
ODDS = 1 / 3  # of a collapse, which the report's own row shows


@dataclass(frozen=True)
class Claim:
    """One statement of the report.

    title     it, in a few words
    text      it, in our words, with every margin in figures
    compared  what stands against what, and over which settings
    sides     heads of the two columns of figures
    unit      of the effect: ``"points"``, ``"times"``, ``"%"``
    tables    those of the report that its own figures come from, the first that has a setting
    all_over  whether it is about every setting; else about their mean
    """

    key: str
    title: str
    text: str
    compared: str
    region: Region
    sides: tuple[str, str]
    find: Comparison
    unit: str = "points"
    tables: tuple[str, ...] = ()
    all_over: bool = False


@dataclass(frozen=True)
class Finding:
    """The verdict on a claim by one source: a protocol's runs on a data set and model, or printed figures.

    effect  pooled over `cells` (`book.report.statistics.pool`), or the one least in the claim's region where
            that is about all; None where there was nothing to compare
    why     in a few words, where the interval does not say it
    """

    claim: Claim
    source: Source
    verdict: Verdict
    effect: Effect | None
    cells: tuple[Cell, ...]
    why: str = ""

    @property
    def known(self) -> bool:
        """Whether it has an interval, or a range, that can tell."""
        return self.verdict not in UNKNOWN

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of all records behind it, each once."""
        return tuple(dict.fromkeys(run for cell in self.cells for run in cell.runs))

    @property
    def tested(self) -> tuple[Cell, ...]:
        """The settings that were compared."""
        return tuple(cell for cell in self.cells if cell.verdict != "not tested")

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds on a side of what was compared, of settings that have an interval
        where any has; zeros where nothing was compared."""
        counts = [n for cell in self.tested if not cell.note for n in cell.seeds]
        counts = counts or [n for cell in self.tested for n in cell.seeds]
        return (min(counts), max(counts)) if counts else (0, 0)

    @property
    def doubtful(self) -> bool:
        """Whether a fault of the published code may touch every setting behind it."""
        return bool(self.tested) and all(cell.doubt for cell in self.tested)

    @property
    def outliers(self) -> tuple[str, ...]:
        """Settings that count less than others in the pooled effect, in words: those with seeds far below the
        others of theirs, and those whose weight moves the mean by `LEAST` or more."""
        if self.claim.all_over or self.effect is None:
            return ()
        tested = [cell for cell in self.tested if cell.effect]
        scattered = wild([cell.effect for cell in tested if cell.effect])
        moved = abs(fmean(cell.effect.value for cell in tested if cell.effect) - self.effect.value) >= LEAST
        found = (
            cell.stray or (f"{cell.where}: {cell.one} against {cell.other}" if moved else "")
            for cell in tested
            if cell.effect in scattered
        )
        return tuple(dict.fromkeys(filter(None, found)))


def of(found: Iterable[Finding], key: str) -> list[Finding]:
    """The findings on the claim called `key`."""
    return [each for each in found if each.claim.key == key]


def findings(frame: pd.DataFrame, studies: Sequence[Study] = ()) -> list[Finding]:
    """Every claim's finding for every source in `frame` and `studies` (`evidence.gather`), and by the
    report's own tables, a claim's in the order of `GRADES`."""
    sources, order = gather(frame, studies), list(GRADES)
    return [
        finding(claim, source)
        for claim in CLAIMS
        for source in sorted(
            [*sources, *reported(*claim.tables)], key=lambda source: order.index(source.grade)
        )
    ]


def finding(claim: Claim, source: Source) -> Finding:
    """The verdict on `claim` by `source`."""
    cells = tuple(_judged(cell, claim.region) for cell in claim.find(source))
    tested = [cell for cell in cells if cell.effect and cell.verdict != "not tested"]
    if not tested:
        silent = "its tables do not compare this" if source.printed else "no runs to compare"
        why = next((cell.note for cell in cells if cell.note), silent)
        return Finding(claim, source, "not tested", None, cells, why)
    sound = [cell for cell in tested if not cell.note]
    effects = [cell.effect for cell in sound or tested if cell.effect]
    effect = min(effects, key=claim.region.depth) if claim.all_over else pool(effects)
    verdict, why = _weigh(claim, effect, sound) if sound else ("no interval", tested[0].note)
    return Finding(claim, source, verdict, effect, cells, why)


def _judged(cell: Cell, region: Region) -> Cell:
    """`cell` with the verdict by its effect alone, unless it has one already."""
    if cell.effect is None or cell.verdict != "undecided":
        return cell
    verdict = judge(cell.effect, region)
    return cell if cell.floor and verdict == "does not hold" else replace(cell, verdict=verdict)


def _weigh(claim: Claim, effect: Effect, cells: Sequence[Cell]) -> tuple[Verdict, str]:
    """The verdict by all `cells`, and why where the effect alone does not say it. A cell contradicts the
    others only if its interval does so at the level for as many comparisons as there are cells."""
    sure = tally(
        cell
        for cell in cells
        if cell.effect and judge(among(cell.effect, len(cells)), claim.region) == cell.verdict
    )
    if claim.all_over:
        if sure["does not hold"]:
            return "does not hold", f"not in {sure['does not hold']} of {len(cells)} settings"
        return ("holds" if tally(cells)["holds"] == len(cells) else "undecided"), ""
    verdict = judge(effect, claim.region)
    if verdict == "does not hold" and all(cell.floor for cell in cells):
        return "undecided", "the effect is at least that: it is read off a line below the curve"
    if verdict == "holds" and sure["does not hold"]:
        settings = f"{sure['does not hold']} of {len(cells)} settings it does not"
        return "undecided", f"it holds on average, but by itself in {settings}"
    if verdict == "does not hold" and sure["holds"]:
        return (
            "undecided",
            f"not on average, but it holds by itself in {sure['holds']} of {len(cells)} settings",
        )
    return verdict, ""


def tally(cells: Iterable[Cell]) -> Counter[str]:
    """How many cells have which verdict."""
    return Counter(cell.verdict for cell in cells)


MAIN = ("table2", "table3")
LIKE_COST = (
    f"at the same density, where neither costs more than {DEARER:g} times as much to train as the other"
)
SETTLE = 100 * 10_000 / 88_000  # percent: the report's 10,000 of 88,000 steps
TOPICS: dict[str, tuple[Claim, ...]] = {
    "RigL and its rivals": (
        Claim(
            "rigl-beats-set",
            "RigL beats SET",
            "RigL reaches a higher accuracy than SET at equal cost.",
            "RigL less SET, at the same masks, density and length; RigL's dense gradients, once in "
            "Delta-T steps, are the only difference in cost",
            BETTER,
            ("RigL, %", "SET, %"),
            comparisons.against("rigl", "set"),
            tables=MAIN,
        ),
        Claim(
            "rigl-beats-static",
            "RigL beats a fixed mask",
            "RigL reaches a higher accuracy than a fixed mask at equal cost.",
            "RigL less static, at the same masks, density and length",
            BETTER,
            ("RigL, %", "Static, %"),
            comparisons.against("rigl", "static"),
            tables=MAIN,
        ),
        Claim(
            "rigl-beats-small-dense",
            "RigL beats a small dense network",
            "RigL reaches a higher accuracy than a dense network that is as much smaller.",
            f"RigL less small-dense, {LIKE_COST}; what RigL costs in terms of it is given with each setting",
            BETTER,
            ("RigL, %", "Small-dense, %"),
            comparisons.narrow,
            tables=MAIN,
        ),
        Claim(
            "dense-parity",
            f"RigL matches dense at density {comparisons.PARITY:g}",
            f"At density {comparisons.PARITY:g}, RigL reaches the dense network, to within {MARGIN:g} "
            "points.",
            f"RigL at density {comparisons.PARITY:g} less dense",
            REACHES,
            ("RigL, %", "Dense, %"),
            comparisons.parity,
            tables=("table4", *MAIN),
        ),
        Claim(
            "matches-pruning",
            "RigL 2x (ERK) matches pruning",
            f"Trained twice as long with ERK, RigL matches pruning, to within {MARGIN:g} points, at "
            "similar cost.",
            f"RigL (ERK, 2x) less pruning, {LIKE_COST}",
            REACHES,
            ("RigL 2x (ERK), %", "Pruning, %"),
            comparisons.twice_as_long,
            tables=MAIN,
        ),
        Claim(
            "exceeds-pruning",
            "RigL 2x (ERK) exceeds pruning",
            "Trained twice as long with ERK, RigL exceeds pruning at similar cost.",
            f"RigL (ERK, 2x) less pruning, {LIKE_COST}",
            BETTER,
            ("RigL 2x (ERK), %", "Pruning, %"),
            comparisons.twice_as_long,
            tables=MAIN,
        ),
        Claim(
            "longer-matches-pruning",
            "RigL trained longer matches pruning",
            f"Trained longer, with either masks, RigL matches pruning, to within {MARGIN:g} points, at "
            "similar cost.",
            f"RigL (2x and longer) less pruning, {LIKE_COST}",
            REACHES,
            ("RigL, longer, %", "Pruning, %"),
            comparisons.longer,
            tables=MAIN,
        ),
        Claim(
            "longer-exceeds-pruning",
            "RigL trained longer exceeds pruning",
            "Trained longer, with either masks, RigL exceeds pruning at similar cost.",
            f"RigL (2x and longer) less pruning, {LIKE_COST}",
            BETTER,
            ("RigL, longer, %", "Pruning, %"),
            comparisons.longer,
            tables=MAIN,
        ),
        Claim(
            "tickets-match-pruning",
            "Lottery tickets match pruning",
            f"A lottery ticket matches the pruning run that it comes from, to within {MARGIN:g} points. "
            "The report says so of densities above 0.2, and prints none; here it is asked of every "
            "density that has runs.",
            "lottery less pruning, at the same density",
            REACHES,
            ("Lottery ticket, %", "Pruning, %"),
            comparisons.against("lottery", "pruning"),
            tables=MAIN,
        ),
        Claim(
            "snfs-better",
            "SNFS beats RigL, at a higher cost",
            "SNFS reaches a higher accuracy than RigL, whatever it costs.",
            "SNFS less RigL, at the same masks, density and length",
            BETTER,
            ("SNFS, %", "RigL, %"),
            comparisons.against("snfs", "rigl"),
            tables=MAIN,
        ),
        Claim(
            "structured-no-better",
            "Structured RigL gains nothing",
            f"Structured RigL gains less than {MARGIN:g} points over a small dense network.",
            f"RigL-struct less small-dense, {LIKE_COST}",
            NO_BETTER,
            ("RigL-struct, %", "Small-dense, %"),
            comparisons.small_dense,
            tables=("supplement-table2",),
        ),
    ),
    "Hyperparameters": (
        Claim(
            "reference-hyperparameters",
            "Tuning gains little",
            f"The usual alpha and Delta-T are within {MARGIN:g} points of tuned ones.",
            "the usual setting less the best of a search, picked by validation accuracy, in test "
            "accuracy; for the report's protocol also less what its own search found",
            REACHES,
            ("Usual, %", "Tuned, %"),
            comparisons.tuned,
            tables=("table4",),
        ),
        *(
            Claim(
                f"learning-rate-{rate:g}".replace(".", "-"),
                f"A learning rate of {rate:g} is good enough everywhere",
                f"A learning rate of {rate:g} is within {MARGIN:g} points of the best other one at every "
                "density. The report calls it a good choice overall, without a margin: this one is ours.",
                f"{rate:g} less the best of the other rates, picked by validation accuracy, at each "
                "density, distribution, alpha and Delta-T of the grid",
                REACHES,
                (f"{rate:g}, %", "Best other, %"),
                comparisons.learning_rate(rate),
                all_over=True,
            )
            for rate in (0.1, 0.05)
        ),
    ),
    "Masks and redistribution": (
        Claim(
            "erk-at-equal-parameters",
            "ERK beats uniform at equal weights",
            "ERK reaches a higher accuracy than uniform masks with as many weights.",
            "ERK less uniform, at the same density, for static, SET and RigL",
            BETTER,
            ("ERK, %", "Uniform, %"),
            comparisons.equal_parameters,
            tables=MAIN,
        ),
        Claim(
            "uniform-at-equal-flops",
            "Uniform beats ERK at equal FLOPs",
            "Uniform masks reach a higher accuracy than ERK at equal FLOPs.",
            "RigL with uniform masks less RigL with ERK, in runs with the same budget of forward FLOPs; "
            "where there are none, ERK against a line between the two nearest uniform settings, in the "
            "logarithm of training FLOPs",
            BETTER,
            ("Uniform, %", "ERK, %"),
            comparisons.equal_flops,
            tables=("table2", "table3", "table4"),
        ),
        Claim(
            "masks-over-method",
            "Masks matter more than the method",
            "The choice of masks, uniform or ERK, changes accuracy more than that of the method, SET or "
            "RigL.",
            "SET with ERK less RigL with uniform masks, at the same density: what ERK gains over uniform "
            "masks less what RigL gains over SET, each averaged over the other choice, is this very "
            "difference",
            BETTER,
            ("SET (ERK), %", "RigL (uniform), %"),
            comparisons.masks_over_method,
            tables=MAIN,
        ),
        Claim(
            "redistribution-lifts-uniform",
            "Redistribution lifts uniform masks",
            "Redistribution raises the accuracy of RigL that starts from uniform masks.",
            "RigL-SG and RigL-SM less RigL, all from uniform masks of the same density",
            BETTER,
            ("Redistributed, %", "RigL, %"),
            comparisons.redistributed("uniform"),
            tables=("table5",),
        ),
        Claim(
            "redistribution-reaches-erk",
            f"Redistribution is at most {MARGIN:g} points behind ERK",
            f"From uniform masks, redistribution reaches RigL with ERK, to within {MARGIN:g} points.",
            "RigL-SG and RigL-SM from uniform masks less RigL with ERK, at the same density",
            REACHES,
            ("Redistributed, %", "RigL (ERK), %"),
            comparisons.redistributed("uniform", distribution="erk"),
            tables=("table5",),
        ),
        Claim(
            "redistribution-no-help-to-erk",
            "Redistribution does not help ERK",
            f"Redistribution gains RigL with ERK less than {MARGIN:g} points.",
            "RigL-SG and RigL-SM less RigL, all from ERK masks of the same density",
            NO_BETTER,
            ("Redistributed, %", "RigL, %"),
            comparisons.redistributed("erk"),
            tables=("table5",),
        ),
        Claim(
            "reinit-hurts",
            "Restarting from the masks found hurts",
            "RigL restarted from the final masks of RigL-SM reaches a lower accuracy than RigL-SM.",
            "re-initialised RigL less the RigL-SM whose masks it starts from, at the same masks and density",
            WORSE,
            ("Re-initialised, %", "RigL-SM, %"),
            comparisons.against("rigl-reinit", "rigl-sm"),
            tables=("table5",),
        ),
    ),
    "Against the original code": (
        Claim(
            "within-the-original",
            "Table 1 is the original's",
            f"Trained on all images, every accuracy is within {SAME:g} points of the original code's "
            "(Table 1).",
            "the mean less what the report gives for the original code; protocol “paper” with no images "
            "held out",
            Region(low=-SAME, high=SAME),
            ("Here, %", "Original, %"),
            comparisons.original,
            tables=("table1",),
            all_over=True,
        ),
    ),
    "Training FLOPs": (
        Claim(
            "redistribution-costs",
            "Redistribution costs more",
            f"Redistribution takes more than {MORE:g} times the training FLOPs.",
            "training FLOPs of RigL-SG and RigL-SM over RigL's, at the same masks and density",
            COSTS_MORE,
            ("Redistributed, x dense", "RigL, x dense"),
            comparisons.redistribution_costs,
            unit="times",
            tables=("table5",),
        ),
        Claim(
            "snfs-costs",
            "SNFS costs more",
            f"SNFS takes more than {MORE:g} times the training FLOPs of RigL.",
            "training FLOPs of SNFS over RigL's, at the same masks, density and length",
            COSTS_MORE,
            ("SNFS, x dense", "RigL, x dense"),
            comparisons.snfs_costs,
            unit="times",
            tables=MAIN,
        ),
    ),
    "Where densities end, and when": (
        Claim(
            "weights-settle",
            "Weights settle early",
            f"Under redistribution, weights find their layers in the first {SETTLE:.1f} % of training, the "
            "report's 10,000 of 88,000 steps.",
            f"the first recorded step after which less than {comparisons.MOVED:.0%} of the active weights "
            "lie in other layers than at the end, as a share of all steps, for RigL-SG and RigL-SM",
            Region(high=SETTLE),
            ("Settled after, %", "Measured"),
            comparisons.measured(comparisons.weights_settled, "the first step near the end's counts"),
            unit="%",
        ),
        Claim(
            "layers-settle",
            "Every layer settles early",
            f"Under redistribution, every layer settles in the first {SETTLE:.1f} % of training, the "
            "report's 10,000 of 88,000 steps.",
            f"the first recorded step after which each layer's density stays within {comparisons.NEAR:.0%} "
            "of its last one, as a share of all steps, for RigL-SG and RigL-SM",
            Region(high=SETTLE),
            ("Settled after, %", "Measured"),
            comparisons.measured(comparisons.layers_settled, "the first step with every layer near its end"),
            unit="%",
        ),
        Claim(
            "densities-more-extreme",
            "Densities end beyond ERK's",
            "In most layers redistribution ends further from uniform densities than ERK is.",
            "the share of layers, of those that ERK does not make dense, whose last density lies beyond "
            "ERK's, seen from the network's own, for RigL-SG and RigL-SM",
            Region(low=50.0),
            ("Layers beyond ERK, %", "Measured"),
            comparisons.measured(comparisons.beyond_erk, "layers beyond ERK"),
            unit="%",
        ),
    ),
    "Stability": (
        Claim(
            "set-unstable",
            "SET can collapse",
            f"SET can collapse when it trains longer at density {comparisons.SPARSE:g} or below.",
            f"the share of runs of SET, 2x or longer, that diverge or end {COLLAPSE:g} points or more "
            "below the best seed of their setting; RigL's beside it. One collapse shows it; it does not "
            "hold where the interval lies below one in three, which is what the report's own row shows",
            Region(low=0.0, least=ODDS),
            ("SET collapsed", "RigL collapsed"),
            comparisons.collapses,
            unit="of the runs",
            tables=MAIN,
        ),
    ),
}
CLAIMS = tuple(claim for claims in TOPICS.values() for claim in claims)
