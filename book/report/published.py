"""The report's own figures, as its tables print them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rigl.training.project import root

SEEDS = 3  # behind every mean of the report's tables


def published(**equal: Any) -> pd.DataFrame:
    """The rows of all the report's tables, under the names that runs have here.

    Accuracy and its standard deviation over three seeds are in percent, FLOPs and wall times relative to
    dense; what a table does not give is missing. `equal` keeps the rows whose columns have these values,
    e.g. ``published(table="table2", method="rigl")``. Raises ValueError for an unknown column.
    """
    tables = json.loads(_path().read_text())["tables"]
    rows = [{"table": name, **row} for name, table in tables.items() for row in table["rows"]]
    frame = pd.DataFrame(rows)
    for column, value in equal.items():
        if column not in frame:
            raise ValueError(f"{column!r} is not a column: choose from {', '.join(map(str, frame))}")
        frame = frame[frame[column] == value]
    return frame.reset_index(drop=True)


def _path() -> Path:
    return root() / "results" / "published.json"
