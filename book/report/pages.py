"""The results pages: tables and plots of one protocol at a time.

A page of the book holds those of all protocols and a control at its top; a live kernel shows the protocol
that the notebook's parameters name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, figures, names, results, runs, tables
from book.report.figures import Drawn
from book.report.runs import experiments
from book.report.tables import SETUPS, Setup
from rigl.training.config import ConfigError, flag, parameters, shown

PARAMETERS = ("protocol", "seeds", "run")
TOO_FEW = display.parts.note("Under this protocol there are no two settings yet with two seeds or more.")


@dataclass(frozen=True)
class Page:
    """A results page as its notebook's parameters ask for it.

    names      the tables and figures that the page shows, as `experiments` names them
    protocol   the one that `train` trains, and that the page opens with if it has runs
    seeds      None for all that there are
    datasets   that the page is about; None for all
    """

    names: tuple[str, ...]
    protocol: str
    seeds: tuple[int, ...] | None
    run: bool
    datasets: tuple[str, ...] | None = None

    @cached_property
    def frame(self) -> pd.DataFrame:
        return runs.load()

    def setups(self, protocol: str) -> list[Setup]:
        """What the page shows of a protocol."""
        return [Setup(protocol, *pair, self.seeds, self.frame) for pair in self._networks(protocol)]

    def _networks(self, protocol: str) -> list[tuple[str, str]]:
        return [pair for pair in SETUPS[protocol] if self.datasets is None or pair[0] in self.datasets]

    @property
    def protocols(self) -> list[str]:
        """Those that have anything to show on this page; ``"smoke"`` only where it was asked for."""
        shown = (name for name in SETUPS if name != "smoke" or name == self.protocol)
        return [name for name in shown if self._networks(name)]

    @cached_property
    def opening(self) -> str:
        """The protocol that the page opens with: the one asked for, or else the first that has runs."""
        order = sorted(self.protocols, key=lambda name: name != self.protocol)
        return next(
            (name for name in order if any(len(setup.own) for setup in self.setups(name))), self.protocol
        )

    @property
    def every(self) -> list[Setup]:
        """What the page shows of all its protocols."""
        return [setup for protocol in self.protocols for setup in self.setups(protocol)]

    def train(self) -> None:
        """Train what the page's tables lack under its protocol, where that was asked for."""
        if not self.run:
            return
        for dataset, model in self._networks(self.protocol):
            asked = {"protocol": self.protocol, "dataset": dataset, "model": model}
            seeds = experiments.SEEDS if self.seeds is None else self.seeds
            print("\n".join(runs.train(self.names, seeds=seeds, **asked)))

    def choose(self) -> None:
        """Display the control that says which protocol the page shows."""
        if len(self.protocols) == 1:
            return
        if not display.in_book():
            return display.show_text(f"Protocol `{self.protocol}`: another by the parameter `protocol`.")
        counts = {name: sum(len(setup.own) for setup in self.setups(name)) for name in self.protocols}
        words = [(name, f"{names.PROTOCOLS[name]} ({count} runs)") for name, count in counts.items()]
        display.show(display.render("protocols", options=words, chosen=self.opening))

    def table(self, name: str) -> None:
        """Display a table of the report's: its numbers, and ours."""
        self.show(lambda setup: [_table(name, setup)])

    def rank(self, name: str) -> None:
        """Display how ours rank a table's rows against the report."""
        self.show(lambda setup: _ranking(name, setup))

    def show(self, draw: Callable[[Setup], Sequence[str | Drawn]]) -> None:
        """Display what `draw` makes of each set-up: HTML, and figures with the text that says what one
        sees."""
        if display.in_book():
            blocks = [(name, self._blocks(name, draw)) for name in self.protocols]
            return display.show(display.render("blocks", blocks=blocks, chosen=self.opening))
        parts = [part for setup in self.setups(self.protocol) for part in draw(setup)]
        for part in parts or [TOO_FEW]:
            if isinstance(part, str):
                display.show(part)
            else:
                figures.show(*part)

    def _blocks(self, protocol: str, draw: Callable[[Setup], Sequence[str | Drawn]]) -> list[Markup]:
        """What `draw` makes of a protocol's set-ups, as HTML."""
        made = [_html(setup, draw(setup)) for setup in self.setups(protocol)]
        return made if any(made) else [TOO_FEW]


def configure(
    namespace: Mapping[str, Any], before: set[str], asked: str, *, datasets: tuple[str, ...] | None = None
) -> Page:
    """The page that a notebook's parameters ask for; `namespace` and `before` as in
    `rigl.training.notebook.configure`, `asked` the names of tables and figures, by spaces. Raises
    ConfigError, one line, for what does not exist."""
    given = parameters(namespace, before, PARAMETERS, {"before", "page"})
    protocol, run = str(given.get("protocol")), flag("run", given.get("run", False))
    seeds = given.get("seeds")
    try:
        chosen = None if seeds is None else tuple(dict.fromkeys(map(int, str(seeds).split(","))))
    except ValueError:
        raise ConfigError(f"seeds {shown(seeds)} is no list of numbers: give one such as 0,1,2") from None
    made = Page(tuple(asked.split()), protocol, chosen, run, datasets)
    if protocol not in made.protocols:
        raise ConfigError(
            f"protocol={shown(protocol)} is not on this page: choose from {', '.join(made.protocols)}"
        )
    return made


def _table(name: str, setup: Setup) -> Markup:
    """The rows that have runs as a table, and the others folded into one line."""
    found = setup.rows(name)
    done = [row for row in found if not row.runs.empty]
    left = [row for row in found if row.runs.empty]
    dense = tables.top(found, setup.dense)
    whole = sum(len(row.runs) >= len(experiments.SEEDS) for row in done)
    told = results.caption(
        setup.protocol, setup.dataset, setup.model, *{row.config.validation for row in found}
    )
    what = f"{names.table(name)}, “{experiments.table(name).title}”"
    if setup.protocol != tables.OWN:
        what = f"The settings of the report's {names.table(name)}"
    text = (
        f"{what}: {len(done)} of {len(found)} rows have runs, {whole} those of {len(experiments.SEEDS)} "
        f"seeds or more. {told}"
    )
    place = f"{setup.protocol}-{setup.dataset}-{setup.model}"
    made = Markup("")
    if done:
        table = tables.table(name, done, dense, place)
        origin = Markup("Printed: {}").format(display.printed_link())
        printed = any(row.report is not None for row in done)
        made += display.html(table, text, origin if printed else None, "labels-2")
    if left:
        printed = setup.protocol == tables.OWN and any(row.report is not None for row in left)
        numbers = tables.table(name, left, dense, place) if printed else None
        made += display.render(
            "not_run",
            count=len(left),
            alone=not done,
            command=tables.command(name, setup),
            names=[row.label for row in left],
            table=None if numbers is None else display.plain(numbers),
            about=f"{names.table(name)}, {setup.title}: rows that have not been run",
        )
    return made


def _ranking(name: str, setup: Setup) -> list[str | Drawn]:
    told, *others = tables.ranking(setup.rows(name)).split("\n- ")
    made = display.parts.paragraph(told) + (display.parts.bullets(others) if others else "")
    return [made] if told else []


def _html(setup: Setup, parts: Sequence[str | Drawn]) -> Markup:
    made = [Markup(part) if isinstance(part, str) else figures.html(*part) for part in parts if part]
    return Markup("").join([display.parts.paragraph(setup.title, "setup"), *made] if made else [])
