"""The numbers of every table and the verdicts, as a fixed set of committed records gave them.

`frozen.json` names the records by their runs' ids, so that new records change nothing here. A change that is meant
to move a number writes the file anew: ``python -m tests.report.test_frozen``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from book.report import budgets, checks, compare, explorer, inherited, pages, results, scoreboard, studies
from rigl.campaign import experiments
from rigl.training.project import model_layers, root

FROZEN = Path(__file__).with_name("frozen.json")
NUMBER = re.compile(r"[-+]?\d[-+\d.,e]*(?: ± [\d.]+)?(?: %)?")


def numbers(table: pd.DataFrame) -> list[str]:
    """The cells of a table that are numbers, row by row."""
    cells = (re.sub(r"<button[^>]*>([^<]*)<.*", r"\1", str(cell)) for cell in table.to_numpy().ravel())
    return [cell for cell in cells if NUMBER.fullmatch(cell)]


def tables(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The numbers of every table that the book makes of the runs in `frame`."""
    found: dict[str, list[str]] = {}

    def add(name: str, table: pd.DataFrame) -> None:
        found[name] = numbers(table)

    for protocol in ("paper", "tenth", "laptop"):
        for dataset, model in pages.SETUPS[protocol]:
            setup = pages.Setup(protocol, dataset, model, None, frame)
            for name in experiments.TABLES:
                rows = setup.rows(name)
                add(
                    f"{name}, {protocol}, {setup.title}",
                    compare.table(name, rows, compare.top(rows, setup.dense), ""),
                )
                if name == "table2":
                    told, _, others = compare.ranking(rows).partition("\n")
                    ranks = [*re.findall(r"\d+", told), *re.findall(r"[-+]\d+\.\d+", others)]
                    found[f"ranks, {protocol}, {setup.title}"] = ranks
    for place, part in frame.groupby(["protocol", "dataset", "model"]):
        add(f"all, {', '.join(place)}", results.readable(part))
    laptop = frame[frame["protocol"] == "laptop"]
    add("budgets", budgets.table(frame))
    add("weights at a budget", budgets.weights(0.1))
    add("FLOPs that differ", checks.flops_that_differ())
    add("tables that differ", checks.tables_that_differ())
    add("costs that contradict", checks.costs_that_contradict())
    add("counted", checks.counted_against_closed_form(frame))
    pairs = checks.paired(laptop, "preset", "repro2021", "google")
    add("presets", checks.readable_pairs(laptop, pairs, "one", "other"))
    add("tickets", inherited.table(laptop, inherited.TICKET))
    add("started anew", inherited.table(laptop, inherited.AGAIN))
    for study in studies.load_all(results.folder()):
        add(f"trials of {study.name}", studies.trials(study))
    add("forward FLOPs", explorer.flops_table(explorer.density_table(model_layers()), [0.1, 0.2]))
    return found


def freeze(ids: set[str]) -> dict[str, object]:
    frame = results.runs()
    frame = frame[frame["name"].str.rpartition("_")[2].isin(ids)].reset_index(drop=True)
    verdicts = scoreboard.scoreboard(scoreboard.load(frame)).round(6).to_csv(index=False)
    return {"runs": sorted(ids), "verdicts": verdicts.splitlines(), "tables": tables(frame)}


@pytest.fixture(scope="module")
def now() -> dict[str, object]:
    return freeze(set(json.loads(FROZEN.read_text())["runs"]))


def test_the_verdicts_are_as_they_were(now) -> None:
    assert now["verdicts"] == json.loads(FROZEN.read_text())["verdicts"]


def test_the_tables_are_as_they_were(now) -> None:
    then = json.loads(FROZEN.read_text())["tables"]
    assert list(now["tables"]) == list(then)
    for name, found in now["tables"].items():
        assert found == then[name], name


if __name__ == "__main__":
    every = {path.stem.rpartition("_")[2] for path in (root() / "results").glob("[!.]*/*_s?_*.json")}
    FROZEN.write_text(json.dumps(freeze(every), indent=0) + "\n")
