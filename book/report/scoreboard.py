"""The claims' verdicts as pages show them: one table of all, each by itself, and text for prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from pathlib import Path
from statistics import mean

import pandas as pd

from book.report import explorers, figures, results, tables
from book.report.claims import CLAIMS, LEAST, Claim, Finding, findings, tally
from book.report.evidence import REPORT, Cell, Source
from book.report.pages import SETUPS
from book.report.published import published
from book.report.statistics import LEVEL, Effect
from book.report.tables import Markup
from rigl.campaign.experiments import in_words
from rigl.campaign.studies import studies

# A sign for each, so that no verdict is told by its colour.
SIGNS = {"holds": "✓", "does not hold": "✗", "undecided": "?", "not tested": "-"}
UNITS = {"points": ("{:+.2f}", " points"), "times": ("{:.2f}", " times"), "%": ("{:.1f}", " %")}
SHARE = ("{:.2f}", " of the runs")
# What prose can name whether or not it has been run.
PLACES = {name: SETUPS[name] for name in ("laptop", "tenth", "paper")} | {REPORT: SETUPS["paper"]}


def load(frame: pd.DataFrame | None = None, folder: Path | None = None) -> list[Finding]:
    """Every finding by the records in `folder`, the project's own unless said; `frame` is its `results.runs`,
    where that is at hand."""
    folder = folder or results.folder()
    return findings(results.runs() if frame is None else frame, list(studies(folder)), folder)


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
    return f"{source.protocol}: {source.model} on {source.dataset}"


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
    where = f"{found.verdict} for {found.source.model} on {found.source.dataset}"
    if found.effect is None:
        return f"{where}: {found.why}"
    value, words, bounds = _parts(found.effect, found.claim.unit)
    if not bounds:
        return f"{where}: {value}{words}, {found.why or 'no interval'}"
    reason = f" ({found.why})" if found.why else ""
    return f"{where}: {_joined(f'{value}{words} [{_joined(*bounds)}]', _plain(found))}{reason}"


def show_in_short(found: Sequence[Finding]) -> None:
    """Display what holds, what is open and what nobody has checked."""
    figures.emit({"text/html": in_short(found)}, raw=True)


def in_short(found: Sequence[Finding]) -> str:
    """Three sentences, as HTML: what holds and by what evidence, what is open, and what nobody has
    checked; the claims themselves are folded away below each."""
    told = [each for each in found if each.verdict != "not tested"]
    sources = Counter(place(each.source) for each in told if each.source.protocol != REPORT)
    if not sources:
        return "<p>No claim has been tested here yet: there are no runs that could.</p>"
    main = sources.most_common(1)[0][0]
    mine = {each.claim.key: each for each in told if place(each.source) == main}
    runs = len({run for each in mine.values() for run in each.runs})
    holds, fails, open_ = (
        [each.claim for each in mine.values() if each.verdict == word]
        for word in ("holds", "does not hold", "undecided")
    )
    ours = {each.claim.key for each in told if each.source.protocol != REPORT}
    never = [claim for claim in CLAIMS if claim.key not in ours]
    seen = {each.source.protocol for each in told}
    own = "" if "paper" in seen else "the report's own protocol, which needs a GPU, has not been run here"
    elsewhere = [claim for claim in CLAIMS if claim.key in ours and claim.key not in mine]
    parts = [own] if own else []
    parts += [f"tested by no run here: {_number(never)}"] if never else []
    parts += [f"on other networks or data alone: {_number(elsewhere)}"] if elsewhere else []
    left = "; ".join(parts) or "nothing that the report claims"
    return (
        f"<p><strong>What holds:</strong> on small networks, by {runs} runs of {escape(main)}, "
        f"{len(holds)} of {len(CLAIMS)} claims hold.</p>{_listed('Which hold', holds)}"
        f"<p><strong>What does not, or is open:</strong> {len(fails)} do not hold there, and {len(open_)} "
        f"are undecided.</p>{_listed('Which do not hold', fails)}{_listed('Which are undecided', open_)}"
        f"<p><strong>What nobody has checked yet:</strong> {left}.</p>"
        f"{_listed('Which no run has tested', never)}{_listed('Which were tested elsewhere', elsewhere)}"
    )


def _number(claims: Sequence[Claim]) -> str:
    return f"{len(claims)} claim{'' if len(claims) == 1 else 's'}"


def _listed(summary: str, claims: Sequence[Claim]) -> str:
    """Claims as links to their sections, folded away; nothing for none."""
    links = (f'<li><a href="claims.html#claim-{x.key}">{escape(x.text)}</a></li>' for x in claims)
    return f"<details><summary>{summary}</summary><ul>{''.join(links)}</ul></details>" if claims else ""


def show(found: Sequence[Finding]) -> None:
    """Display every claim's verdict by every source that says anything, a column a source."""
    data = figures.csv_link(scoreboard(found).to_csv(index=False), "verdicts.csv")
    figures.emit({"text/html": f"{html(found)}<p>{data}</p>"}, raw=True)


def html(found: Sequence[Finding], page: str = "claims.html") -> str:
    """`show`'s table; a claim links to its section of `page`, an effect to what is behind it there."""
    decided = {place(each.source) for each in found if each.verdict != "not tested" and not each.why}
    every = list(dict.fromkeys(place(each.source) for each in found))
    sources = [name for name in every if name in decided]
    cells = {(each.claim.key, place(each.source)): each for each in found}
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in sources)
    body = "".join(
        f'<tr><th scope="row"><a href="{page}#claim-{claim.key}">{escape(claim.text)}</a></th>'
        + "".join(_verdict(cells.get((claim.key, name)), page) for name in sources)
        + "</tr>"
        for claim in CLAIMS
    )
    run = {each.source.protocol for each in found}
    silent = [f"{name} (too few runs)" for name in every if name not in decided]
    silent += [f"{name} (not run)" for name in PLACES if name not in run]
    caption = (
        "Verdicts by protocol, model and data set, each from its own runs; columns that begin with “the "
        "report” judge its printed means and standard deviations by the same rule. In brackets: the "
        f"{100 * LEVEL:g} % interval over seeds, or the range of what is counted."
        + (f" Left out: {'; '.join(silent)}." if silent else "")
    )
    table = (
        '<table class="table scoreboard">'
        f'<thead><tr><th scope="col">Claim</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
    return tables.framed(table, caption, "labels-1", name="Verdicts on the claims")


def _verdict(found: Finding | None, page: str) -> str:
    if found is None or found.effect is None:
        return f"<td>{signed('not tested')}</td>"
    value, words, bounds = _parts(found.effect, found.claim.unit)
    interval = f"<br>[{', '.join(bounds)}]" if bounds else ""
    text = f"{value}{words}{interval}"
    aside = "; ".join(filter(None, [_plain(found), found.why if bounds else ""]))
    link = f'<a href="{page}#{_anchor(found)}">{text}</a>'
    told = f"<br><small>{escape(aside)}</small>" if aside else ""
    return f"<td><strong>{signed(found.verdict)}</strong><br><small>{link}</small>{told}</td>"


def show_claim(key: str, found: Sequence[Finding]) -> None:
    """Display one claim: its text, the comparison, and by every source the verdict, its settings and runs.

    Raises ValueError for a claim that is not there.
    """
    figures.emit({"text/html": claim_html(key, found)}, raw=True)


def claim_html(key: str, found: Sequence[Finding]) -> str:
    """`show_claim`'s page."""
    mine = [each for each in found if each.claim.key == key]
    if not mine:
        raise ValueError(f"{key!r} is no claim: choose from {', '.join(claim.key for claim in CLAIMS)}")
    claim = mine[0].claim
    tested = [each for each in mine if each.effect or each.cells]
    rest = [f"{place(each.source)} ({each.why})" for each in mine if each not in tested]
    parts = [f"<p><strong>Claim.</strong> {escape(claim.text)}<br>Compared: {escape(claim.compared)}.</p>"]
    parts += [_finding(claim, each) for each in tested]
    parts += [f"<p>{signed('not tested')}: {escape('; '.join(rest))}.</p>"] if rest else []
    return "".join(parts)


def _finding(claim: Claim, found: Finding) -> str:
    rest = sentence(found).removeprefix(found.verdict)
    text = f"{escape(place(found.source))}: <strong>{signed(found.verdict)}</strong>{escape(rest)}."
    table = pd.DataFrame([_row(claim, cell, found.source) for cell in found.cells])
    empty = [name for name in ("Printed in", "Remark") if name in table and (table[name] == "-").all()]
    listing = tables.html(table.drop(columns=empty), f"{claim.text} A row a setting, {place(found.source)}.")
    data = f"<p>Here are {tables.printed_link()}.</p>" if found.source.protocol == REPORT else ""
    summary = f"<summary>Setting by setting: {escape(place(found.source))}</summary>"
    # The anchor lies inside, so that a link to it unfolds the table.
    return f'<p>{text}</p><details>{summary}<div id="{_anchor(found)}">{listing}{data}</div></details>'


def _anchor(found: Finding) -> str:
    source = found.source
    return escape(
        "-".join((found.claim.key, source.protocol, source.dataset, source.model)).replace(" ", "-")
    )


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
        "Printed in": ", ".join(map(in_words, cell.runs)) if source.protocol == REPORT else "-",
        "Remark": cell.note or "-",
    }


def _side(text: str, runs: tuple[str, ...], source: Source) -> str:
    """A figure, and below it a link to the record of each run behind it, by its seed."""
    if source.protocol == REPORT or not runs:
        return text
    links = " ".join(tables.seed_link(source.dataset, name) for name in runs)
    return Markup(f'{escape(text)}<br><span class="links">{links}</span>')


def glue(found: Sequence[Finding]) -> None:
    """Leave every verdict where the book's prose can quote it, under the names of `texts`."""
    if not explorers.in_book():
        return  # nothing but the book reads them
    from myst_nb import glue as leave

    for name, text in texts(found).items():
        leave(name, text, display=False)


def texts(found: Sequence[Finding]) -> dict[str, str]:
    """Every verdict by name, those not tested too.

    ``claim-KEY-PROTOCOL`` has all of a protocol's data sets and models in brief,
    ``claim-KEY-PROTOCOL-DATASET-MODEL`` one, and ``verdict-...`` the verdict alone; the report's own figures
    are protocol ``report``. ``report-spread`` is the median of the standard deviations that it prints."""
    known = {
        (each.claim.key, each.source.protocol, each.source.dataset, each.source.model): each for each in found
    }
    made = {"report-spread": f"{published()['std'].median():.2f}"}
    for claim in CLAIMS:
        for protocol, usual in PLACES.items():
            others = [key[2:] for key in known if key[:2] == (claim.key, protocol)]
            name, parts = f"{claim.key}-{protocol.removeprefix('the ')}", []
            for dataset, model in dict.fromkeys([*usual, *others]):
                each = known.get((claim.key, protocol, dataset, model))
                made[f"claim-{name}-{dataset}-{model}"] = sentence(each) if each else "not tested: not run"
                made[f"verdict-{name}-{dataset}-{model}"] = each.verdict if each else "not tested"
                if each and each.verdict != "not tested":
                    parts.append(brief(each))
            made[f"claim-{name}"] = "; ".join(parts) or "not tested"
    return made
