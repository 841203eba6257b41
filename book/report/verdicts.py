"""The claims' verdicts as pages show them: a table of all, a section for each, and text for prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from statistics import mean
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, names, runs
from book.report.claims import CLAIMS, LEAST, Claim, Finding, findings, tally
from book.report.evidence import REPORT, Cell, Source
from book.report.runs import published
from book.report.statistics import LEVEL, Effect
from book.report.tables import SETUPS

# A sign for each, so that no verdict is told by its colour.
SIGNS = {"holds": "✓", "does not hold": "✗", "undecided": "?", "not tested": "-"}
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
    """One row for each claim and source: `claim`, `protocol`, `dataset`, `model`, `verdict`, then `effect`
    with `low` and `high` in `unit`, `how` the interval was made, and the numbers of `settings` and `runs`."""
    rows = [
        {
            "claim": each.claim.key,
            "protocol": each.source.protocol,
            "dataset": each.source.dataset,
            "model": each.source.model,
            "verdict": each.verdict,
            "effect": each.effect.value if each.effect else None,
            "low": each.effect.low if each.effect else None,
            "high": each.effect.high if each.effect else None,
            "unit": each.claim.unit,
            "how": each.effect.how if each.effect else None,
            "settings": sum(cell.verdict != "not tested" for cell in each.cells),
            "runs": len(each.runs),
        }
        for each in found
    ]
    return pd.DataFrame(rows)


def place(source: Source) -> str:
    """A source in words."""
    return f"{source.protocol}: {names.place(source.model, source.dataset)}"


def signed(verdict: str) -> str:
    """A verdict with its sign."""
    return f"{SIGNS[verdict]} {verdict}"


def figure(effect: Effect, unit: str) -> str:
    """An effect with its unit and interval: ``"+0.31 points, 95 % interval +0.10 to +0.52 (Welch)"``."""
    value, words, bounds = _parts(effect, unit)
    if not bounds:
        return f"{value}{words}, no interval"
    if effect.how == "range":
        return f"{value}{words}, range {' to '.join(bounds)}"
    return f"{value}{words}, {100 * LEVEL:g} % interval {' to '.join(bounds)} ({effect.how})"


def _parts(effect: Effect, unit: str) -> tuple[str, str, tuple[str, ...]]:
    """The value, its unit, and both ends of its interval, where it has one."""
    form, words = UNITS.get(unit, SHARE)
    bounded = isfinite(effect.low) and isfinite(effect.high)
    return (
        form.format(effect.value),
        words,
        (form.format(effect.low), form.format(effect.high)) if bounded else (),
    )


def sentence(found: Finding) -> str:
    """The verdict, and the effect that it rests on with the number of settings behind it."""
    if found.effect is None:
        return f"{found.verdict}: {found.why}"
    counts = tally(cell for cell in found.cells if cell.verdict != "not tested")
    parts = [f"{words} {counts[words]}" for words in SIGNS if counts[words]]
    total = counts.total()
    alone = f"{total} settings, by themselves: {', '.join(parts)}" if total > 1 else "1 setting"
    reason = f"; {found.why}" if found.why else ""
    told = _joined(figure(found.effect, found.claim.unit), _plain(found))
    return f"{found.verdict}: {told}; {alone}{reason}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _plain(found: Finding) -> str:
    """The mean of all settings' effects, where weights make another figure of it."""
    values = [cell.effect.value for cell in found.cells if cell.effect and cell.verdict != "not tested"]
    effect = found.effect
    if (
        found.claim.all_over
        or effect is None
        or effect.how != "Welch"
        or abs(mean(values) - effect.value) < LEAST
    ):
        return ""
    form, words = UNITS[found.claim.unit]
    return f"unweighted mean {form.format(mean(values))}{words}"


def brief(found: Finding) -> str:
    """The verdict in half a line, for prose: where, the effect and its interval."""
    where = f"{found.verdict} for {names.place(found.source.model, found.source.dataset)}"
    if found.effect is None:
        return f"{where}: {found.why}"
    value, words, bounds = _parts(found.effect, found.claim.unit)
    if not bounds:
        return f"{where}: {value}{words}, {found.why or 'no interval'}"
    reason = f" ({found.why})" if found.why else ""
    return f"{where}: {_joined(f'{value}{words} [{_joined(*bounds)}]', _plain(found))}{reason}"


def show_in_short(found: Sequence[Finding]) -> None:
    """Display what holds, what is open and what has not been tested."""
    display.show(in_short(found))


def in_short(found: Sequence[Finding]) -> Markup:
    """Three sentences, as HTML: what holds and by what evidence, what is open, and what has not been tested;
    the claims themselves are folded away below each."""
    told = [each for each in found if each.verdict != "not tested"]
    ours = [each for each in told if each.source.protocol != REPORT]
    if not ours:
        return Markup("<p>No claim has been tested here yet: there are no runs that could.</p>")
    # Of the source with the most verdicts: a single seed tests a claim and decides nothing.
    decided = [each for each in ours if each.verdict != "undecided"] or ours
    main = Counter(place(each.source) for each in decided).most_common(1)[0][0]
    mine = {each.claim.key: each for each in ours if place(each.source) == main}
    tested = {each.claim.key for each in ours}
    return display.render(
        "in_short",
        main=main,
        runs=len({run for each in mine.values() for run in each.runs}),
        count=len(CLAIMS),
        **{
            name: [each.claim for each in mine.values() if each.verdict == verdict]
            for name, verdict in (("holds", "holds"), ("fails", "does not hold"), ("undecided", "undecided"))
        },
        never=[claim for claim in CLAIMS if claim.key not in tested],
        elsewhere=[claim for claim in CLAIMS if claim.key in tested and claim.key not in mine],
        own=any(each.source.protocol == "paper" for each in told),
    )


def show(found: Sequence[Finding]) -> None:
    """Display every claim's verdict by every source that says anything, a column a source."""
    data = display.csv_link(scoreboard(found).to_csv(index=False), "verdicts.csv")
    display.show(html(found) + Markup("<p>{}</p>").format(data))


def html(found: Sequence[Finding]) -> Markup:
    """`show`'s table; a claim links to its section of the page of claims, an effect to what is behind it
    there."""
    decided = {place(each.source) for each in found if each.verdict != "not tested" and not each.why}
    every = list(dict.fromkeys(place(each.source) for each in found))
    sources = [name for name in every if name in decided]
    cells = {(each.claim.key, place(each.source)): each for each in found}
    run = {each.source.protocol for each in found}
    silent = [f"{name} (too few runs)" for name in every if name not in decided]
    silent += [f"{name} (not run)" for name in PLACES if name not in run]
    caption = (
        "Verdicts by protocol, model and data set, each from its own runs; columns that begin with “the "
        "report” judge its printed means and standard deviations by the same rule. In brackets: the "
        f"{100 * LEVEL:g} % interval over seeds, or the range of what is counted."
        + (f" Left out: {'; '.join(silent)}." if silent else "")
    )
    table = display.render(
        "scoreboard",
        sources=sources,
        rows=[(claim, [_verdict(cells.get((claim.key, name))) for name in sources]) for claim in CLAIMS],
    )
    return display.framed(table, caption, "labels-1", name="Verdicts on the claims")


def _verdict(found: Finding | None) -> dict[str, Any]:
    """What a cell of the scoreboard says."""
    if found is None or found.effect is None:
        return {"verdict": signed("not tested"), "effect": ""}
    value, words, bounds = _parts(found.effect, found.claim.unit)
    return {
        "verdict": signed(found.verdict),
        "effect": f"{value}{words}",
        "interval": f"[{', '.join(bounds)}]" if bounds else "",
        "anchor": _anchor(found),
        "aside": "; ".join(filter(None, [_plain(found), found.why if bounds else ""])),
    }


def show_claim(key: str, found: Sequence[Finding]) -> None:
    """Display one claim: its text, the comparison, and by every source the verdict, its settings and runs.

    Raises ValueError for a claim that does not exist.
    """
    display.show(claim_html(key, found))


def claim_html(key: str, found: Sequence[Finding]) -> Markup:
    """`show_claim`'s page."""
    mine = [each for each in found if each.claim.key == key]
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
                "place": place(each.source),
                "verdict": signed(each.verdict),
                "rest": sentence(each).removeprefix(each.verdict),
                "anchor": _anchor(each),
                "table": _table(claim, each),
                "printed": display.printed_link() if each.source.protocol == REPORT else "",
            }
            for each in tested
        ],
        untested=f"{signed('not tested')}: {'; '.join(rest)}." if rest else "",
    )


def _table(claim: Claim, found: Finding) -> Markup:
    """A claim's comparisons by one source, a row a setting."""
    table = pd.DataFrame([_row(claim, cell, found.source) for cell in found.cells])
    empty = [name for name in ("Printed in", "Remark") if name in table and (table[name] == "-").all()]
    text = f"{claim.text} A row a setting, {place(found.source)}."
    return display.html(table.drop(columns=empty), text)


def _anchor(found: Finding) -> str:
    source = found.source
    return "-".join((found.claim.key, source.protocol, source.dataset, source.model)).replace(" ", "-")


def _row(claim: Claim, cell: Cell, source: Source) -> dict[str, str]:
    value, _, bounds = _parts(cell.effect, claim.unit) if cell.effect else ("-", "", ())
    low, high = bounds or ("-", "-")
    return {
        "Setting": cell.where,
        "Verdict": signed(cell.verdict),
        claim.sides[0]: _side(cell.one, cell.one_runs, source),
        claim.sides[1]: _side(cell.other, cell.other_runs, source),
        f"Effect,{UNITS.get(claim.unit, SHARE)[1]}": value,
        "From": low,
        "To": high,
        "Seeds": cell.seeds or "-",
        "Printed in": ", ".join(map(names.table, cell.runs)) if source.protocol == REPORT else "-",
        "Remark": cell.note or "-",
    }


def _side(text: str, records: tuple[str, ...], source: Source) -> str:
    """A number, and below it a link to the record of each run behind it, by its seed."""
    if source.protocol == REPORT or not records:
        return text
    links = (display.record_link(source.dataset, name, name.split("_")[-2:][0]) for name in records)
    return Markup('{}<br><span class="links">{}</span>').format(text, Markup(" ").join(links))


def glue(found: Sequence[Finding]) -> None:
    """Leave every verdict where the book's prose can quote it, under the names of `texts`."""
    if not display.in_book():
        return  # nothing but the book reads them
    from myst_nb import glue as leave

    for name, text in texts(found).items():
        leave(name, text, display=False)


def texts(found: Sequence[Finding]) -> dict[str, str]:
    """Every verdict by name, those not tested too: ``claim-KEY-PROTOCOL`` has all of a protocol's data sets
    and models in brief, in the order of the pages; the report's own numbers are protocol ``report``.
    ``report-spread`` is the median of the standard deviations that it prints."""
    made = {"report-spread": f"{published()['std'].median():.2f}"}
    for claim in CLAIMS:
        for protocol, order in PLACES.items():
            mine = [x for x in found if (x.claim.key, x.source.protocol) == (claim.key, protocol)]
            mine.sort(key=lambda each: _position(each.source, order))
            told = [brief(each) for each in mine if each.verdict != "not tested"]
            made[f"claim-{claim.key}-{protocol.removeprefix('the ')}"] = "; ".join(told) or "not tested"
    return made


def _position(source: Source, order: Sequence[tuple[str, str]]) -> int:
    place = (source.dataset, source.model)
    return order.index(place) if place in order else len(order)
