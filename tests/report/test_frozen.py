"""The numbers of every table and the verdicts, as a fixed set of committed records gave them.

`frozen.json` names the records by their runs' ids, so that new records change nothing here. A change that is
meant to move a number writes the file anew: ``python -m tests.report.test_frozen``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from book.report import budgets, density_explorer, discrepancies, display, names, runs, studies, verdicts
from book.report import tables as reported
from rigl.campaign import experiments
from rigl.training.project import model_layers, root

FROZEN = Path(__file__).with_name("frozen.json")
NUMBER = re.compile(r"[-+]?\d[-+\d.,e]*(?: ± [\d.]+)?(?: %)?")


def numbers(table: pd.DataFrame) -> list[str]:
    """The cells of a table that are numbers, row by row."""
    cells = (re.sub(r"<button[^>]*>([^<]*)<.*", r"\1", str(cell)) for cell in table.to_numpy().ravel())
    return [cell for cell in cells if NUMBER.fullmatch(cell)]


def means(part: pd.DataFrame) -> pd.DataFrame:
    """A row a setting: mean and deviation, seeds, FLOPs."""
    rows = runs.settings(part).sort_values(["density", "distribution", "method"])
    return pd.DataFrame(
        [
            {
                "Setting": names.of(row),
                "Density": f"{row['density']:g}",
                "Accuracy": display.accuracy(row["mean"], row["std"]),
                "Seeds": str(row["seeds"]),
                "Train": f"{row['train_flops']:.3f}",
                "Test": f"{row['test_flops']:.3f}",
            }
            for _, row in rows.iterrows()
        ]
    )


def tables(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The numbers of every table that the book makes of the runs in `frame`."""
    found: dict[str, list[str]] = {}

    def add(name: str, table: pd.DataFrame) -> None:
        found[name] = numbers(table)

    for protocol in ("paper", "tenth", "laptop"):
        for dataset, model in reported.SETUPS[protocol]:
            setup = reported.Setup(protocol, dataset, model, None, frame)
            for name in (name for name in experiments.TABLES if name != "later-methods"):
                rows = setup.rows(name)
                add(
                    f"{name}, {protocol}, {model} on {dataset}",
                    reported.table(name, rows, reported.top(rows, setup.dense), ""),
                )
                if name == "table2":
                    told, _, others = reported.ranking(rows).partition("\n")
                    ranks = [*re.findall(r"\d+", told), *re.findall(r"[-+]\d+\.\d+", others)]
                    found[f"ranks, {protocol}, {model} on {dataset}"] = ranks
    for place, part in frame.groupby(["protocol", "dataset", "model"]):
        add(f"all, {', '.join(place)}", means(part))
    laptop = frame[frame["protocol"] == "laptop"]
    add("budgets", budgets.table(frame))
    add("weights at a budget", budgets.weights(0.1))
    add("FLOPs that differ", discrepancies.flops_that_differ())
    add("tables that differ", discrepancies.tables_that_differ())
    add("costs that contradict", discrepancies.costs_that_contradict())
    add("counted", discrepancies.counted_against_closed_form(frame))
    pairs = discrepancies.paired(laptop, "preset", "repro2021", "google")
    add("presets", discrepancies.readable_pairs(laptop, pairs, "one", "other"))
    add("tickets", discrepancies.steps_table(laptop, discrepancies.TICKET))
    add("started anew", discrepancies.steps_table(laptop, discrepancies.AGAIN))
    for study in runs.studies():
        add(f"trials of {study.name}", studies.trials(study))
    add(
        "forward FLOPs",
        density_explorer.flops_table(density_explorer.density_table(model_layers()), [0.1, 0.2]),
    )
    return found


def freeze(ids: set[str]) -> dict[str, object]:
    frame = runs.load(searched=True)
    frame = frame[frame["name"].str.rpartition("_")[2].isin(ids)].reset_index(drop=True)
    board = verdicts.scoreboard(verdicts.load(frame)).round(6).to_csv(index=False)
    return {"runs": sorted(ids), "verdicts": board.splitlines(), "tables": tables(frame[~frame["searched"]])}


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
