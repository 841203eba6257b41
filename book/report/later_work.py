"""The page on what later work says of the report's claims: its figures as printed, beside our verdicts.

Every figure stands in ``results/later_work.json`` with the text that it was read in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, verdicts
from book.report.claims import CLAIMS, Claim, Finding, of

PAGE = "verdicts.html"  # where a verdict's comparison is
# What results are together (`combined`): a sign that tells it without colour, what is said of one work and of
# several, and of claims to which all works are that.
TOGETHER = {
    "agrees": ("✓", "agrees", "agree", "agrees with {}, if sometimes under conditions"),
    "disagrees": ("✗", "disagrees", "disagree", "disagrees with {}"),
    "divided": ("±", "is divided", "are divided", "is divided on {}"),
    "qualifies": ("~", "qualifies", "qualify", "only adds conditions to {}"),
}


def load() -> dict[str, Any]:
    """The data: `sources` by name, `rows` in the order of the page, and `unread`, what is not printed since
    no text of it could be read."""
    data: dict[str, Any] = display.read("later_work.json")
    return data


def claims() -> list[Claim]:
    """The claims that later work bears on, in the order of the page."""
    known = {claim.key: claim for claim in CLAIMS}
    return [known[key] for key in dict.fromkeys(row["claim"] for row in load()["rows"])]


def combined(stances: Collection[str]) -> str:
    """What several stances come to, a key of `TOGETHER`: ``"agrees"`` or ``"disagrees"`` where there is one
    of these and not the other, ``"divided"`` where there are both, else ``"qualifies"``."""
    if "divided" in stances or {"agrees", "disagrees"} <= set(stances):
        return "divided"
    return next((each for each in ("agrees", "disagrees") if each in stances), "qualifies")


def by_work(key: str) -> dict[str, str]:
    """What each work is to the claim called `key`, by its name in the bibliography. However many results it
    has, a work counts once for a claim, as what they come to (`combined`)."""
    data = load()
    results: dict[str, set[str]] = {}
    for row in data["rows"]:
        if row["claim"] == key:
            results.setdefault(data["sources"][row["source"]]["work"], set()).add(row["stance"])
    return {work: combined(stances) for work, stances in results.items()}


def in_short() -> str:
    """How many works there are, and with how many claims they agree, in a line. A claim, too, counts once: as
    what the works come to."""
    every = {claim.key: by_work(claim.key) for claim in claims()}
    works = {work for each in every.values() for work in each}
    counts = Counter(combined(each.values()) for each in every.values())
    groups = ("agrees", "divided", "disagrees", "qualifies")
    told = [TOGETHER[name][3].format(counts[name]) for name in groups if counts[name]]
    return (
        f"{len(works)} {'work bears' if len(works) == 1 else 'works bear'} on {len(every)} of the report's "
        f"claims. Taken together, what they say {'; '.join(told)}."
    )


def show_summary(found: Sequence[Finding]) -> None:
    """Display a row a claim: how many works agree with it (`by_work`), and the verdicts by the report's
    printed numbers and by our runs."""
    rows = []
    for claim in claims():
        mine = [each for each in of(found, claim.key) if each.known]
        rows.append(
            {
                "Claim": display.parts.link(f"#later-{claim.key}", claim.text),
                "Other work": display.lines(*_counted(by_work(claim.key).values())),
                "The report's numbers": _lines([each for each in mine if each.source.printed]),
                "Our runs": _lines([each for each in mine if not each.source.printed]),
            }
        )
    signs = ", ".join(map(verdicts.signed, ("holds", "does not hold", "undecided")))
    caption = (
        f"The claims by three kinds of evidence. Our verdicts ({signs}) lead to their comparisons; those of "
        "single seeds are left out. A claim leads to the works below. Each work counts once for a claim: as "
        "divided where some of its results agree and others disagree."
    )
    display.show_table(pd.DataFrame(rows), caption, kind="words later")


def show(key: str, found: Sequence[Finding]) -> None:
    """Display what later work says of the claim called `key`, and this book's verdicts on it.

    Raises ValueError for a claim that nothing bears on.
    """
    display.show(html(key, found))


def html(key: str, found: Sequence[Finding]) -> Markup:
    """`show`'s table, with an anchor of its own."""
    data = load()
    rows = [row for row in data["rows"] if row["claim"] == key]
    if not rows:
        raise ValueError(f"no later work bears on {key!r}: choose from {', '.join(x.key for x in claims())}")
    (claim,) = (each for each in claims() if each.key == key)
    mine = [each for each in of(found, key) if each.known]
    table = pd.DataFrame([_row(row, data["sources"][row["source"]]) for row in rows])
    ours = [Markup("{}: {}").format(_source(each), _told(each)) for each in mine]
    head = display.parts.later(claim, ours or [Markup("not tested by more than single seeds")])
    return Markup(head + display.html(table, f"What later work says of it: {claim.text}", kind="words later"))


def show_unread() -> None:
    """Display which figures are left out since no text of theirs could be read."""
    lines = [f"- {each['name']}: {each['what']}" for each in load()["unread"]]
    display.show_text("\n".join(lines))


def show_data() -> None:
    """Display a link that saves every row with its source."""
    data = load()
    columns = ["claim", "stance", "place", "says", "numbers", "work", "read", "commit", "url"]
    rows = pd.DataFrame(data["rows"]).assign(numbers=["; ".join(_numbers(row)) for row in data["rows"]])
    flat = rows.join(pd.DataFrame(data["sources"]).T, on="source")[columns]
    link = display.csv_link(flat.to_csv(index=False), "later-work.csv")
    display.show(display.parts.paragraph(link))


def _row(row: dict[str, Any], source: dict[str, Any]) -> dict[str, str]:
    commit = f" at {source['commit'][:8]}" if "commit" in source else ""
    return {
        "Work": source["name"],
        "On": row["place"],
        "Printed": display.lines(*_numbers(row)) or "-",
        "On the claim": f"{TOGETHER[row['stance']][0]} {row['stance']}",
        "What it says": Markup("{} {}").format(
            row["says"], display.parts.small(display.parts.link(source["url"], f"{source['read']}{commit}"))
        ),
    }


def _numbers(row: dict[str, Any]) -> list[str]:
    """The figures of a row, a line a unit: ``"RigL 74.752, SET 74.566 (top-1, %)"``."""
    lines: dict[str, list[str]] = {}
    for number in row["numbers"]:
        lines.setdefault(number["unit"], []).append(f"{number['what']} {number['value']}")
    return [f"{', '.join(each)} ({unit})" for unit, each in lines.items()]


def _counted(stances: Collection[str]) -> list[str]:
    """How many works are what to a claim, with the signs, a line each: ``"✓ 2 agree"``."""
    counts = Counter(stances)
    return [
        f"{sign} {counts[name]} {one if counts[name] == 1 else several}"
        for name, (sign, one, several, _) in TOGETHER.items()
        if counts[name]
    ]


def _told(found: Finding) -> Markup:
    """A verdict with its effect and where, as a link to its comparison."""
    return _link(found, f"{verdicts.SIGNS[found.verdict]} {verdicts.brief(found)}")


def _lines(found: Sequence[Finding]) -> Markup | str:
    """Verdicts by their signs, with effect and where, a line each."""
    lines = (
        _link(x, f"{verdicts.SIGNS[x.verdict]} {verdicts.brief(x).partition(' for ')[2]}") for x in found
    )
    return display.lines(*lines) or "-"


def _link(found: Finding, text: str) -> Markup:
    return Markup(display.parts.link(f"{PAGE}#claim-{found.claim.key}", text))


def _source(found: Finding) -> str:
    return "the report's printed numbers" if found.source.printed else found.source.protocol
