"""What the book says first, as the records have it: what came out, what surprises, and which method to
use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from markupsafe import Markup

from book.report import cost, display, names, tables, verdicts
from book.report.claims import CLAIMS, UNKNOWN, Claim, Finding, of
from book.report.comparisons import SMALL
from book.report.evidence import GRADES, REPORT, Source, pairs, ratio
from book.report.statistics import Effect, apart
from book.report.tables import SETUPS, Setup

OURS = [grade for grade in GRADES if grade != "printed"]
DECIDED = ("holds", "does not hold")
DENSITY = 0.1  # that nearly all experiments have


def answers(found: Sequence[Finding], frame: pd.DataFrame) -> Markup:
    """What RigL is, what was done, what came out and how sure that is, in one screen; `frame` holds every
    record."""
    theirs, mine = _sides(found)
    grades = verdicts.by_grade(found)
    both = _where(theirs, mine, "holds", "holds")
    counted = [claim for claim in both if claim.unit == "times"]
    both = [claim for claim in both if claim not in counted]
    refuted = [x for x in CLAIMS if mine[x.key] == "does not hold" and theirs.get(x.key) != "holds"]
    groups = []
    for grade in [each for each in OURS if each in grades]:
        told = [claim for claim in both if grades[grade][claim.key] == "holds"]
        both = [claim for claim in both if claim not in told]
        ours = f"on our {GRADES[grade].removeprefix('the ')}"
        whole = [claim for claim in told if _throughout(found, claim.key)]
        part = [claim for claim in told if claim not in whole]
        groups.append((f"Holds in the report and {ours}", whole))
        groups.append((f"Holds on one of the report's data sets and {ours}", part))
    groups += [
        ("Holds by counting FLOPs", counted),
        ("Holds in the report, not in our runs", _where(theirs, mine, "holds", "does not hold")),
        ("Undecided in the report and in our runs", _where(theirs, mine, "undecided", "undecided")),
        ("Does not hold in our runs", refuted),
    ]
    return display.render(
        "answers",
        lead=_lead(found, theirs, mine),
        claims=len(CLAIMS),
        runs=len(frame),
        groups=[(text, claims) for text, claims in groups if claims],
        tested=any(each.source.protocol != REPORT for each in found),
        strength=verdicts.strength(found),
    )


def _lead(found: Sequence[Finding], theirs: dict[str, str], ours: dict[str, str]) -> str:
    """The two verdicts that one would ask for first, with the effects of all sources that have an
    interval."""

    def extent(key: str) -> str:
        values = [each.effect.value for each in _told(found, key) if each.effect]
        return f" (effects of {min(values):+.2f} to {max(values):+.2f} points)" if values else ""

    def both(key: str) -> str:
        told = {theirs.get(key, "not tested"), ours[key]} - set(UNKNOWN)
        return told.pop() if len(told) == 1 else "undecided"

    fixed = {"holds": "RigL beats a fixed mask", "does not hold": "RigL does not beat a fixed mask"}
    rival = {
        "holds": "it beats SET, its closest rival",
        "does not hold": "it does not beat SET, its closest rival",
    }
    first = fixed.get(both("rigl-beats-static"), "Whether RigL beats a fixed mask is open")
    second = rival.get(both("rigl-beats-set"), "whether it beats SET, its closest rival, is open")
    return f"{first}{extent('rigl-beats-static')}; {second}{extent('rigl-beats-set')}."


def _throughout(found: Sequence[Finding], key: str) -> bool:
    """Whether a claim holds on every data set for which the report prints numbers that can tell."""
    printed = [each for each in _told(found, key) if each.source.protocol == REPORT]
    return all(each.verdict == "holds" for each in printed)


def _sides(found: Sequence[Finding]) -> tuple[dict[str, str], dict[str, str]]:
    """Each claim's verdict by the report's numbers, and by all our runs together: what a grade of evidence
    decides and none contradicts."""
    grades = verdicts.by_grade(found)
    ours = {}
    for claim in CLAIMS:
        ours[claim.key] = verdicts.joint({grades[grade][claim.key] for grade in OURS if grade in grades})
    return grades.get("printed", {}), ours


def _where(theirs: dict[str, str], ours: dict[str, str], one: str, other: str) -> list[Claim]:
    return [x for x in CLAIMS if (theirs.get(x.key), ours.get(x.key)) == (one, other)]


def show_surprises(found: Sequence[Finding], frame: pd.DataFrame) -> None:
    """Display what one would not expect from the report's text; `frame` holds the runs of no search."""
    display.show_text("\n\n".join(surprises(found, frame)))


def surprises(found: Sequence[Finding], frame: pd.DataFrame) -> list[str]:
    """Paragraphs in Markdown, each of which begins with what it found in bold."""
    every = [
        _against_set(found),
        _against_small(found),
        _against_pruning(found),
        _redistributed(frame),
        _tickets(found),
    ]
    return [each for each in every if each]


def _against_set(found: Sequence[Finding]) -> str:
    told = _told(found, "rigl-beats-set")
    clear = [each for each in told if each.verdict != "undecided"]
    by = "is undecided by our runs and by its own numbers"
    if clear:
        by = f"is decided by {len(clear)} of {len(told)} sources"
    if not told:
        return ""
    head = f"**That RigL beats SET, the report's central finding, {by}.**"
    most = max(each.effect.high for each in told if each.effect)
    bound = f" By all of these intervals the lead is below {most:.2f} points." if most > 0 else ""
    return f"{head} The lead: {_listed(told)}.{bound} {_link('rigl-beats-set')}"


def _against_small(found: Sequence[Finding]) -> str:
    """The small convolutional network with most seeds against a small dense one, where its interval leaves
    out the report's gap."""
    sources = [each.source for each in of(found, "rigl-beats-small-dense")]
    compared = [(source, pair) for source in sources if (pair := _pair(source))]
    mine = [each for each in compared if each[0].grade == "small"]
    theirs = next((each for each in compared if each[0].printed), None)
    if not mine or not theirs:
        return ""
    source, (gap, share, seeds) = max(mine, key=lambda each: each[1][2])
    printed, (lead, _, _) = theirs
    if gap.high >= lead.value:
        return ""
    side = "behind" if gap.value > 0 else "ahead of"
    bounds = ", ".join(verdicts.parts(gap, "points")[2])
    return (
        f"**A small dense network is closer to RigL than in the report.** On {verdicts.place(source)} at "
        f"density {DENSITY:g}, it ends {abs(gap.value):.2f} points {side} RigL with ERK (RigL less "
        f"small-dense [{bounds}], {verdicts.seeds((seeds, seeds))} or more), for "
        f"{100 * share:.0f} % of its training FLOPs. In {verdicts.place(printed)}, "
        f"RigL leads by {lead.value:.1f} points. {_link('rigl-beats-small-dense')}"
    )


def _pair(source: Source) -> tuple[Effect, float, int] | None:
    """(RigL with ERK less small-dense in points, small-dense's training FLOPs over RigL's, fewest seeds)."""
    rigl = {"method": "rigl", "distribution": "erk", "density": DENSITY, "multiplier": 1}
    left, right = next(pairs(source, rigl, SMALL), (None, None))
    if not left or not right or not ratio(left, right):
        return None
    gap = apart(left.accuracy, right.accuracy)
    return gap, 1 / ratio(left, right), min(left.accuracy.n, right.accuracy.n)


def _against_pruning(found: Sequence[Finding]) -> str:
    level, ahead = (_told(found, key) for key in ("matches-pruning", "exceeds-pruning"))
    if not any(each.verdict == "holds" for each in level) or any(each.verdict == "holds" for each in ahead):
        return ""
    return (
        "**Trained twice as long, RigL comes level with pruning, but nothing shows it ahead,** as the report "
        f"says it is. The difference: {_listed(ahead)}. {_link('exceeds-pruning')}"
    )


def _redistributed(frame: pd.DataFrame) -> str:
    lines = []
    for dataset, model in SETUPS["laptop"]:
        setup = Setup("laptop", dataset, model, None, frame)
        rows = setup.rows("table5")
        every = tables.ranks(rows)
        if 2 * every.alike < every.pairs:
            again = every.pairs - tables.ranks([x for x in rows if x.config.method != "rigl-reinit"]).pairs
            side = f" In {again} of them one side is RigL trained again from the masks it found."
            lines.append(f"{setup.title}: {every.told}{side if again else ''}")
    head = "**The report tells settings of redistribution apart that our runs do not.**"
    return f"{head} {' '.join(lines)} [The pairs](redistribution.html#do-they-rank-alike)." if lines else ""


def _tickets(found: Sequence[Finding]) -> str:
    told = [each for each in _told(found, "tickets-match-pruning") if each.verdict != "undecided"]
    if len({each.verdict for each in told}) < 2:
        return ""
    return (
        "**Lottery tickets match pruning in one place and fail in another.** Tickets less pruning: "
        f"{_listed(told)}. {_link('tickets-match-pruning')}"
    )


def advice(found: Sequence[Finding]) -> Markup:
    """Which method to use for what, by the records: what somebody wants, what to use, and the verdicts that
    say so."""
    _, ours = _sides(found)
    grades = verdicts.by_grade(found)
    theirs = grades.get("printed", {})

    def holds(key: str) -> bool:
        return verdicts.joint({ours.get(key, ""), theirs.get(key, "")}) == "holds"

    lost = [-x.effect.value for x in of(found, "structured-no-better") if x.source.printed and x.effect]
    price = ""
    if lost and min(lost) > 0:
        below = f"{min(lost):.1f} to {max(lost):.1f} points"
        price = f" By the report's numbers RigL-struct is {below} less accurate than a small dense network."
    rows = [
        (
            "The best accuracy at a given number of weights, without ever training a dense network",
            "RigL with ERK" if holds("rigl-beats-set") else "RigL or SET, with ERK",
            ["rigl-beats-static", "rigl-beats-set", "erk-at-equal-parameters"],
            "",
        ),
        (
            "The best accuracy for given FLOPs",
            "RigL with uniform masks"
            if holds("uniform-at-equal-flops")
            else "RigL; compare uniform masks and ERK",
            ["uniform-at-equal-flops", "rigl-beats-small-dense"],
            "",
        ),
        (
            "A sparse network, and training may take as long as dense training",
            "Gradual pruning, or RigL trained longer"
            if holds("matches-pruning") or holds("longer-matches-pruning")
            else "Gradual pruning",
            ["matches-pruning", "longer-matches-pruning", "longer-exceeds-pruning"],
            "",
        ),
        (
            "A network that is faster on today's hardware",
            cost.fastest() or ("A small dense network" if holds("structured-no-better") else "rigl.compact"),
            ["structured-no-better"],
            cost.fewer_channels() + price,
        ),
        (
            "No time to tune",
            "alpha = 0.3 and Delta-T = 100, the learning rate of dense training"
            if holds("reference-hyperparameters")
            else "a search for alpha and Delta-T",
            ["reference-hyperparameters", "learning-rate-0-1"],
            "",
        ),
    ]
    claims = {claim.key: claim for claim in CLAIMS}

    def said(key: str) -> tuple[Claim, Markup, Markup, str]:
        printed = [x for x in of(found, key) if x.source.printed and x.verdict == theirs.get(key)]
        doubtful = bool(printed) and all(each.doubtful for each in printed)
        mine = ours.get(key, "not tested")
        on = [grade for grade in OURS if grades.get(grade, {}).get(key) == mine] if mine in DECIDED else []
        return (
            claims[key],
            verdicts.mark(theirs.get(key, "not tested"), doubtful=doubtful),
            verdicts.mark(mine),
            ", ".join(GRADES[grade] for grade in on),
        )

    return display.render(
        "advice",
        rows=[(want, use, [said(key) for key in keys], measured) for want, use, keys, measured in rows],
    )


def _told(found: Iterable[Finding], key: str) -> list[Finding]:
    """The findings on a claim that have an interval."""
    return [each for each in of(found, key) if each.effect and each.known]


def _listed(found: Sequence[Finding]) -> str:
    """``"+0.09 points [-0.07, +0.24] on LeNet-300-100 (3 seeds); by the report's numbers +0.14 ..."``."""
    ours, theirs = ([x for x in found if x.source.printed == printed] for printed in (False, True))
    told = [f"{_effect(each)} ({verdicts.seeds(each.seeds)})" for each in ours]
    printed = " and ".join(_effect(x) + (" (in doubt)" if x.doubtful else "") for x in theirs)
    return "; ".join([*told, *([f"by the report's numbers {printed}"] if printed else [])])


def _effect(found: Finding) -> str:
    assert found.effect is not None
    value, words, bounds = verdicts.parts(found.effect, found.claim.unit)
    return f"{value}{words} [{', '.join(bounds)}] on {names.network(found.source.model)}"


def _link(key: str) -> str:
    return f"[The runs](verdicts.html#claim-{key})."
