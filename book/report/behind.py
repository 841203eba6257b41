"""What stands behind a figure: a button that opens its runs, and from each a link to its record."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

import pandas as pd

from book.report import tables
from book.report.tables import Markup

# On a page of the book the key alone does not, once the focus is inside.
CLOSE = "event.key === 'Escape' && this.hidePopover()"


def of(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The rows of a `records.frame` that are the records called `names`."""
    return frame[frame["name"].isin(list(names))]


def runs(shown: str, label: str, place: str, found: pd.DataFrame) -> Markup:
    """`shown` as a button that opens the runs `found`, rows of a `records.frame`; the rest as in
    `button`."""
    return button(shown, label, place, listing(found))


def button(shown: str, label: str, place: str, content: str) -> Markup:
    """`shown` as a button that opens `content`, which is HTML on one line, under the heading `label`;
    `place` sets it apart from every other button of the page."""
    target = escape(re.sub(r"\s+", "-", place))
    return Markup(
        f'<button type="button" class="runs" popovertarget="{target}" aria-haspopup="dialog" '
        f'aria-label="{escape(shown)}: {escape(label)}">{escape(shown)}</button>'
        f'<div popover id="{target}" class="runs-behind" role="dialog" '
        f'aria-label="{escape(label)}" onkeydown="{CLOSE}"><p>{escape(label)}</p>{content}'
        f'<p><button type="button" popovertarget="{target}" popovertargetaction="hide">Close</button></p>'
        "</div>"
    )


def listing(found: pd.DataFrame) -> str:
    """Runs as an HTML table on one line: a link to the record, seed, accuracy, time, device and commit."""
    lines = [
        {
            "Record": tables.short_link(run["dataset"], run["name"]),
            "Seed": run["seed"],
            "Accuracy, %": "diverged" if pd.isna(run["test_accuracy"]) else f"{run['test_accuracy']:.2f}",
            "Minutes": f"{run['wall_seconds'] / 60:.1f}",
            "Device": f"{run['device']}, {run['precision']}",
            "Commit": tables.commit(run),
        }
        for _, run in found.sort_values("seed").iterrows()
    ]
    # On one line: pandas keeps a cell's line breaks as text.
    return "".join(line.strip() for line in tables.plain(pd.DataFrame(lines)).splitlines())
