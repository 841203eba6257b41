"""Displays verdicts, which `claims.finding` reaches: counted by grade of evidence, in one table, claim by
claim, and as text for prose. `forest` draws them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, names, runs
from book.report.claims import CLAIMS, TOPICS, Claim, Finding, findings, of, tally
from book.report.evidence import GRADES, REPORT, Cell, Source
from book.report.runs import published
from book.report.statistics import LEVEL, Effect
from book.report.tables import SETUPS

# A sign for each, so that no verdict is told by its colour, and a class of book.css.
SIGNS = {"holds": "✓", "does not hold": "✗", "undecided": "?", "no interval": "○", "not tested": "-"}
DOUBT = "in doubt: a fault in the published code may touch every number behind it"
UNITS = {"points": ("{:+.2f}", " points"), "times": ("{:.2f}", " times"), "%": ("{:.1f}", " %")}
SHARE = ("{:.2f}", " of the runs")
# What prose can name whether or not it has been run.
PLACES = {name: SETUPS[name] for name in ("laptop", "tenth", "paper")} | {REPORT: SETUPS["paper"]}


def load(frame: pd.DataFrame | None = None) -> list[Finding]:
    """Every finding by the project's records; `frame` is `runs.load(searched=True)`, where that is at
    hand."""
    frame = runs.load(searched=True) if frame is None else frame
    return findings(frame, list(runs.studies(display.folder())))


def scoreboard(found: Iterable[Finding]) -> pd.DataFrame:
    """One row for each claim and source: `claim`, `grade` of evidence, `protocol`, `dataset`, `model`,
    `verdict`, then `effect` with `low` and `high` in `unit`, `how` the interval was made, the numbers of
    `settings` and `runs`, and the `fewest` and the `most` seeds on a side."""
    rows = [
        {
            "claim": each.claim.key,
            "grade": each.source.grade,
            "protocol": each.source.protocol,
            "dataset": each.source.dataset,
            "model": each.source.model,
            "verdict": each.verdict,
            "effect": each.effect.value if each.effect else None,
            "low": each.effect.low if each.effect else None,
            "high": each.effect.high if each.effect else None,
            "unit": each.claim.unit,
            "how": each.effect.how if each.effect else None,
            "settings": len(each.tested),
            "runs": len(each.runs),
            "fewest": each.seeds[0],
            "most": each.seeds[1],
        }
        for each in found
    ]
    return pd.DataFrame(rows)


def place(source: Source) -> str:
    """A source in words; its protocol only where network and data do not tell it."""
    where = names.place(source.model, source.dataset)
    if source.printed:
        return f"the report, {where}"
    return where + (f", {source.protocol}" if source.protocol in ("tenth", "smoke") else "")


def seeds(counts: tuple[int, int]) -> str:
    """``"3 seeds"``, ``"1 to 3 seeds"``."""
    fewest, most = counts
    words = f"{fewest} to {most}" if fewest != most else str(most)
    return f"{words} seed{'s' if most != 1 else ''}"


def mark(verdict: str, *, doubtful: bool = False) -> Markup:
    """A verdict with its sign, in its colour and shape; `doubtful` adds an exclamation mark."""
    return Markup(display.parts.verdict(SIGNS[verdict], verdict, DOUBT if doubtful else ""))


def chip(found: Finding) -> Markup:
    """A finding's verdict as `mark` shows it."""
    return mark(found.verdict, doubtful=found.doubtful)


def signed(verdict: str) -> str:
    """A verdict with its sign."""
    return f"{SIGNS[verdict]} {verdict}"


def figure(effect: Effect, unit: str) -> str:
    """An effect with its unit and interval: ``"+0.31 points, 95 % interval +0.10 to +0.52 (Welch)"``."""
    value, words, bounds = parts(effect, unit)
    if not bounds:
        return f"{value}{words}, no interval"
    if effect.how == "range":
        return f"{value}{words}, range {' to '.join(bounds)}"
    return f"{value}{words}, {100 * LEVEL:g} % interval {' to '.join(bounds)} ({effect.how})"


def parts(effect: Effect, unit: str) -> tuple[str, str, tuple[str, ...]]:
    """The value, its unit, and both ends of its interval, where it has one."""
    form, words = UNITS.get(unit, SHARE)

    def text(value: float) -> str:
        shown = form.format(value)
        if shown not in ("+0.00", "-0.00"):
            return shown
        return f"{value:+.1g}" if abs(value) >= 1e-4 else "0"  # which side of 0 it is on decides verdicts

    bounded = isfinite(effect.low) and isfinite(effect.high)
    return text(effect.value), words, (text(effect.low), text(effect.high)) if bounded else ()


def sentence(found: Finding) -> str:
    """The verdict, and the effect that it rests on with the number of settings behind it."""
    if found.effect is None:
        return f"{found.verdict}: {found.why}"
    counts = tally(found.tested)
    told = [f"{words} {counts[words]}" for words in SIGNS if counts[words]]
    total = counts.total()
    alone = f"{total} settings, by themselves: {', '.join(told)}" if total > 1 else "1 setting"
    sound = sum(not cell.note for cell in found.tested)
    if 0 < sound < total:
        alone = f"the effect is that of {sound} of {alone}"
    reason = f"; {found.why}" if found.why else ""
    return f"{found.verdict}: {figure(found.effect, found.claim.unit)}; {seeds(found.seeds)}; {alone}{reason}"


def aside(found: Finding) -> str:
    """The settings that count less than others, those that are in doubt, and why."""
    less = f"Counts less, since its seeds scatter: {'; '.join(found.outliers)}" if found.outliers else ""
    doubts = Counter(cell.doubt for cell in found.tested if cell.doubt)
    doubt = "; ".join(f"{count} of {len(found.tested)} settings: {text}" for text, count in doubts.items())
    return ". ".join(filter(None, [less, f"In doubt, {doubt}" if doubt else ""]))


def brief(found: Finding) -> str:
    """The verdict in half a line, for prose: where, the effect and its interval."""
    where = f"{found.verdict} for {names.place(found.source.model, found.source.dataset)}"
    if found.effect is None:
        return f"{where}: {found.why}"
    value, words, bounds = parts(found.effect, found.claim.unit)
    counted = f" ({seeds(found.seeds)})" if not found.source.printed else ""
    if not bounds or not found.known:
        return f"{where}{counted}: {value}{words}, {found.why or 'no interval'}"
    reason = f" ({found.why})" if found.why else ""
    doubt = " (in doubt)" if found.doubtful else ""
    return f"{where}{counted}: {value}{words} [{', '.join(bounds)}]{doubt}{reason}"


def by_grade(found: Sequence[Finding]) -> dict[str, dict[str, str]]:
    """For each grade of `GRADES` that has sources, each claim's verdict: of several sources the one that a
    source reaches and none contradicts (`joint`)."""
    made: dict[str, dict[str, str]] = {}
    for grade in GRADES:
        mine = [each for each in found if each.source.grade == grade]
        for claim in CLAIMS if mine else ():
            told = {each.verdict for each in of(mine, claim.key)}
            made.setdefault(grade, {})[claim.key] = joint(told)
    return made


def joint(told: Collection[str]) -> str:
    """The verdict by several: the one that any of them reaches and none contradicts, else what is known."""
    clear = {"holds", "does not hold"}.intersection(told)
    if len(clear) == 1:
        return clear.pop()
    return next((each for each in ("undecided", "no interval") if clear or each in told), "not tested")


def strength(found: Sequence[Finding]) -> Markup:
    """How many claims have which verdict: a bar a grade of evidence, with its networks and seeds."""
    rows = []
    for grade, verdicts in by_grade(found).items():
        mine = [each for each in found if each.source.grade == grade]
        tested = [each.seeds for each in mine if each.seeds[1]]
        spread = (min(low for low, _ in tested), max(high for _, high in tested)) if tested else (0, 0)
        networks = dict.fromkeys(names.network(each.source.model) for each in mine)
        rows.append(
            {
                "grade": GRADES[grade],
                "networks": ", ".join(networks),
                "seeds": seeds(spread),
                "counts": Counter(verdicts.values()),
            }
        )
    return display.render("strength", rows=rows, signs=SIGNS)


def show(found: Sequence[Finding]) -> None:
    """Display every claim's verdict by every source that decides any, a column a source."""
    data = display.csv_link(scoreboard(found).to_csv(index=False), "verdicts.csv")
    display.show(html(found) + display.parts.paragraph(data))


def html(found: Sequence[Finding]) -> Markup:
    """`show`'s table; a claim links to its section, an effect to what is behind it there."""
    every = {place(each.source): each.source for each in found}
    decided = {place(each.source) for each in found if each.known}
    order = list(GRADES)
    sources = sorted(
        (each for each in every if each in decided), key=lambda name: order.index(every[name].grade)
    )
    cells = {(each.claim.key, place(each.source)): each for each in found}
    heads = Counter(GRADES[every[name].grade] for name in sources)
    silent = [name for name in every if name not in decided]
    caption = (
        "Verdicts by network and data set, each from its own runs; the report's printed means and standard "
        f"deviations are judged by the same rule. In brackets: the {100 * LEVEL:g} % interval over seeds, or "
        "the range of what is counted."
        + (f" Left out, since single seeds decide nothing: {'; '.join(silent)}." if silent else "")
    )
    table = display.render(
        "scoreboard",
        grades=heads.items(),
        sources=sources,
        topics=[
            (
                topic,
                [(claim, [_verdict(cells.get((claim.key, name))) for name in sources]) for claim in claims],
            )
            for topic, claims in TOPICS.items()
        ],
    )
    return display.framed(table, caption, "board", name="Verdicts on the claims")


def _verdict(found: Finding | None) -> Mapping[str, Any]:
    """What a cell of the scoreboard says."""
    if found is None or found.effect is None:
        return {"verdict": mark("not tested"), "effect": ""}
    value, words, bounds = parts(found.effect, found.claim.unit)
    return {
        "verdict": chip(found),
        "effect": f"{value}{words}",
        "interval": f"[{', '.join(bounds)}]" if bounds and found.known else "",
        "anchor": anchor(found),
        "aside": "; ".join(filter(None, [seeds(found.seeds), found.why if bounds else ""])),
    }


def show_claim(key: str, found: Sequence[Finding]) -> None:
    """Display one claim: its text, the comparison, and by every source the verdict, its settings and runs.

    Raises ValueError for a claim that does not exist.
    """
    display.show(claim_html(key, found))


def claim_html(key: str, found: Sequence[Finding]) -> Markup:
    """`show_claim`'s page."""
    mine = of(found, key)
    if not mine:
        raise ValueError(f"{key!r} is no claim: choose from {', '.join(claim.key for claim in CLAIMS)}")
    claim = mine[0].claim
    tested = [each for each in mine if each.effect or each.cells]
    rest = [f"{place(each.source)} ({each.why})" for each in mine if each not in tested]
    return display.render(
        "claim",
        claim=claim,
        findings=[
            {
                "grade": GRADES[each.source.grade],
                "place": place(each.source),
                "verdict": chip(each),
                "rest": sentence(each).removeprefix(each.verdict).removeprefix(": "),
                "aside": aside(each),
                "anchor": anchor(each),
                "table": _table(claim, each),
                "printed": display.printed_link() if each.source.printed else "",
            }
            for each in tested
        ],
        untested=mark("not tested") + Markup(" {}.").format("; ".join(rest)) if rest else "",
    )


def _table(claim: Claim, found: Finding) -> Markup:
    """A claim's comparisons by one source, a row a setting."""
    table = pd.DataFrame([_row(claim, cell, found.source) for cell in found.cells])
    same = {name: table[name].iloc[0] for name in ("Printed in", "Remark") if table[name].nunique() == 1}
    told = [f"{name}: {value}." for name, value in same.items() if value != "-"]
    text = " ".join([f"{claim.text} A row a setting, {place(found.source)}.", *told])
    return display.html(table.drop(columns=[*same]), text, kind="settings")


def anchor(found: Finding) -> str:
    """Where the page of verdicts has what is behind a finding."""
    source = found.source
    return "-".join((found.claim.key, source.protocol, source.dataset, source.model)).replace(" ", "-")


def _row(claim: Claim, cell: Cell, source: Source) -> dict[str, str]:
    value, _, bounds = parts(cell.effect, claim.unit) if cell.effect else ("-", "", ())
    return {
        "Setting": cell.where,
        "Verdict": mark(cell.verdict),
        claim.sides[0]: _side(cell.one, cell.one_runs, source),
        claim.sides[1]: _side(cell.other, cell.other_runs, source),
        f"Effect,{UNITS.get(claim.unit, SHARE)[1]}": value,
        "Interval": f"{bounds[0]} to {bounds[1]}" if bounds else "-",
        "Seeds": " against ".join(map(str, cell.seeds)) or "-",
        "Printed in": ", ".join(map(names.table, cell.runs)) if source.printed else "-",
        "Remark": "; ".join(filter(None, [cell.note, cell.stray, cell.doubt])) or "-",
    }


def _side(text: str, records: tuple[str, ...], source: Source) -> str:
    """A number, and below it a link to the record of each run behind it, by its seed."""
    if source.printed or not records:
        return text
    links = [display.record_link(source.dataset, name, name.split("_")[-2:][0]) for name in records]
    return display.lines(text, display.parts.spaced(links))


def glue(found: Sequence[Finding]) -> None:
    """Leave every verdict where the book's prose can quote it, under the names of `texts`."""
    if not display.in_book():
        return  # nothing but the book reads them
    from myst_nb import glue as leave

    for name, text in texts(found).items():
        leave(name, text, display=False)


def texts(found: Sequence[Finding]) -> dict[str, str]:
    """Every verdict by name, those not tested too.

    ``claim-KEY-PROTOCOL`` has all of a protocol's data sets and models in brief, in the order of the
    pages; the report's own numbers are protocol ``report``. ``claim-KEY-DATASET`` has all sources on a data
    set, ``claim-KEY`` all sources that have an interval. ``report-spread`` is the median of the standard
    deviations that the report prints.
    """
    made = {"report-spread": f"{published()['std'].median():.2f}"}
    for claim in CLAIMS:
        every = []
        for protocol, order in PLACES.items():
            mine = [each for each in of(found, claim.key) if each.source.protocol == protocol]
            mine.sort(key=lambda each: _position(each.source, order))
            tested = _tested(mine)
            made[f"claim-{claim.key}-{protocol.removeprefix('the ')}"] = _joined(map(brief, tested))
            every += [_whose(each) for each in tested if each.known]
        made[f"claim-{claim.key}"] = _joined(every)
        for dataset in names.DATASETS:
            mine = [each for each in of(found, claim.key) if each.source.dataset == dataset]
            made[f"claim-{claim.key}-{dataset}"] = _joined(map(_whose, _tested(mine)))
    return made


def _whose(found: Finding) -> str:
    return ("by the report's numbers " if found.source.printed else "") + brief(found)


def _tested(found: Iterable[Finding]) -> list[Finding]:
    return [each for each in found if each.verdict != "not tested"]


def _joined(told: Iterable[str]) -> str:
    return "; ".join(told) or "not tested"


def _position(source: Source, order: Sequence[tuple[str, str]]) -> int:
    place = (source.dataset, source.model)
    return order.index(place) if place in order else len(order)
