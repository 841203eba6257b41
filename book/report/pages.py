"""The results pages: one table or plot for each protocol, of which the page shows the chosen one.

A page of the book holds them all and a control at its top; a live kernel shows the protocol that the
notebook's parameters name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from book.report import compare, figures, results, tables
from book.report.compare import Row
from book.report.explorers import in_book, scripts
from rigl.campaign import experiments
from rigl.campaign.request import request
from rigl.training.config import ConfigError, parameters
from rigl.training.project import root

SETUPS = {
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
WORDS = {
    "paper": "paper: the report's own",
    "tenth": "tenth: a tenth of its epochs",
    "laptop": "laptop: small networks, no GPU",
    "smoke": "smoke: a first try, in seconds",
}
PARAMETERS = ("protocol", "seeds", "run")


@dataclass(frozen=True)
class Setup:
    """A network on a data set under a protocol, and the page's runs of it."""

    protocol: str
    dataset: str
    model: str
    seeds: tuple[int, ...] | None
    frame: pd.DataFrame

    @property
    def title(self) -> str:
        return f"{self.model} on {self.dataset}"

    @property
    def own(self) -> pd.DataFrame:
        """Its rows of the frame."""
        mine = self.frame[(self.frame["protocol"] == self.protocol) & (self.frame["dataset"] == self.dataset)]
        mine = mine[mine["model"] == self.model]
        return mine if self.seeds is None else mine[mine["seed"].isin(self.seeds)]

    def rows(self, name: str) -> list[Row]:
        """`book.report.compare.rows` of a table or figure."""
        asked = {"protocol": self.protocol, "dataset": self.dataset, "model": self.model}
        return compare.rows(name, self.frame, seeds=self.seeds, **asked)

    @property
    def dense(self) -> Row:
        """The dense network, as in the report's main table for the data set."""
        main = "table3" if self.dataset == "cifar100" else "table2"
        return next(row for row in self.rows(main) if row.config.method == "dense")


@dataclass(frozen=True)
class Page:
    """A results page as its notebook's parameters ask for it.

    names      tables and figures of `rigl.campaign.experiments` that the page shows
    protocol   the one that the page opens with, and that `train` trains
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
        return results.runs()

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

    def train(self) -> None:
        """Train what the page's tables lack under its protocol, where that was asked for."""
        if not self.run:
            return
        from rigl.campaign import runner  # torch, which a page that only shows does without

        seeds = experiments.SEEDS if self.seeds is None else self.seeds
        for dataset, model in self._networks(self.protocol):
            asked: dict[str, Any] = {"protocol": self.protocol, "dataset": dataset, "model": model}
            outcome = runner.run(
                experiments.runs(self.names, seeds=seeds, **asked), results=root() / "results"
            )
            print("\n".join(outcome.lines()))

    def choose(self) -> None:
        """Display the control that says which protocol the page shows."""
        if len(self.protocols) == 1:
            return
        if not in_book():
            return results.show_text(f"Protocol `{self.protocol}`: another by the parameter `protocol`.")
        options = "".join(self._option(name) for name in self.protocols)
        control = f'<label>Protocol <select name="protocol">{options}</select></label>'
        figures.emit(
            {"text/html": f'<div class="explorer-controls">{control}{scripts(__file__)}</div>'},
            raw=True,
        )

    def _option(self, name: str) -> str:
        runs = sum(len(setup.own) for setup in self.setups(name))
        chosen = " selected" if name == self.protocol else ""
        return f'<option value="{name}"{chosen}>{escape(WORDS[name])} ({runs} runs)</option>'

    def table(self, name: str) -> None:
        """Display a table of the report's: its figures, and ours."""
        self.show(lambda setup: [_table(name, setup)])

    def rank(self, name: str) -> None:
        """Display how ours rank a table's rows against the report."""
        self.show(lambda setup: [_ranking(name, setup)])

    def show(self, draw: Callable[[Setup], Sequence[str | tuple[go.Figure, str]]]) -> None:
        """Display what `draw` makes of each set-up: HTML, and figures with the text that says what one
        sees."""
        if not in_book():
            for setup in self.setups(self.protocol):
                _emit(setup, draw(setup))
            return
        blocks = []
        for name in self.protocols:
            parts = [_html(setup, draw(setup)) for setup in self.setups(name)]
            hidden = "" if name == self.protocol else " hidden"
            blocks.append(f'<div data-protocol="{name}"{hidden}>{"".join(parts)}</div>')
        figures.emit({"text/html": "".join(blocks)}, raw=True)


def configure(
    namespace: Mapping[str, Any], before: set[str], names: str, *, datasets: tuple[str, ...] | None = None
) -> Page:
    """The page that a notebook's parameters ask for; `namespace` and `before` as in
    `rigl.training.notebook.configure`, `names` as in `rigl.campaign.request.request`. Raises ConfigError, one
    line, for what cannot be."""
    given = parameters(namespace, before, PARAMETERS, {"before", "page"})
    protocol, run, seeds = str(given["protocol"]), given.get("run", False), given.get("seeds")
    if not isinstance(run, bool):
        raise ConfigError(f"run={run!r} is not right: it should be True or False")
    made = Page(tuple(names.split()), protocol, None, run, datasets)
    if protocol not in made.protocols:
        raise ConfigError(
            f"protocol={protocol!r} is not on this page: choose from {', '.join(made.protocols)}"
        )
    if seeds is None:
        return made
    return replace(made, seeds=request(names, protocol=protocol, seeds=str(seeds)).seeds)


def ranks_in_short(frame: pd.DataFrame) -> str:
    """Whether small networks rank Table 2's settings as the report does, in Markdown, a line a network."""
    lines = []
    for dataset, model in SETUPS["laptop"]:
        setup = Setup("laptop", dataset, model, None, frame)
        told = compare.ranking(setup.rows("table2")).partition("\n")[0]
        if told.startswith("Of "):
            lines.append(f"**Order.** {setup.title}: {told} [Which ones](laptop.html#do-they-rank-alike).")
    return "\n\n".join(lines)


def _table(name: str, setup: Setup) -> str:
    found = setup.rows(name)
    done = sum(not row.runs.empty for row in found)
    whole = sum(len(row.runs) >= len(experiments.SEEDS) for row in found)
    held_out = {row.config.validation for row in found}
    told = results.caption(setup.protocol, setup.dataset, setup.model, *held_out)
    text = (
        f"{experiments.in_words(name)}, “{experiments.table(name).title}”. {told} {done} of "
        f"{len(found)} rows have runs, {whole} those of {len(experiments.SEEDS)} seeds or more."
    )
    if done < len(found):
        text += (
            f" What is missing: python -m rigl.campaign run {name} --protocol {setup.protocol} "
            f"--dataset {setup.dataset} --model {setup.model}"
        )
    place = f"{setup.protocol}-{setup.dataset}-{setup.model}"
    table = compare.table(name, found, compare.top(found, setup.dense), place)
    printed = any(row.report is not None for row in found)
    data = f'<p class="caption">Here are {tables.printed_link()}.</p>' if printed else ""
    return tables.html(table, text) + data


def _ranking(name: str, setup: Setup) -> str:
    told, *others = compare.ranking(setup.rows(name)).split("\n- ")
    items = "".join(f"<li>{escape(each)}</li>" for each in others)
    return f"<p>{escape(told)}</p>" + (f"<ul>{items}</ul>" if items else "")


def _html(setup: Setup, parts: Sequence[str | tuple[go.Figure, str]]) -> str:
    made = [
        part if isinstance(part, str) else figures.plot(*part) + figures.caption(*part)
        for part in parts
        if part
    ]
    return f'<p class="setup">{escape(setup.title)}</p>{"".join(made)}' if made else ""


def _emit(setup: Setup, parts: Sequence[str | tuple[go.Figure, str]]) -> None:
    for part in parts:
        if isinstance(part, str):
            figures.emit({"text/html": part}, raw=True)
        else:
            figures.show(*part)
