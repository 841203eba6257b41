"""How far studies are, as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rigl.campaign import studies
from rigl.campaign.studies import Settings, Study
from rigl.campaign.tuning.store import Counts, Store, exists
from rigl.training import records


def look(settings: Settings, results: str | Path, storage: str | None) -> tuple[Study | None, Counts]:
    """What there is of a study, by its storage, else by its exported file; nothing is begun."""
    if exists(settings, results, storage):
        store = Store(settings, results, storage)
        return store.data(), store.counts()
    path = studies.path_of(settings, results)
    if not path.exists():
        return None, Counts()
    study = studies.load(path)
    complete = len(study.complete)
    return study, Counts(complete, len(study.trials) - complete)


def status_table(asked: Sequence[Settings], results: str | Path, storage: str | None) -> pd.DataFrame:
    """A row a study: its trials in each state, the best one, and its reference runs."""
    return pd.DataFrame([_line(settings, results, *look(settings, results, storage)) for settings in asked])


def exit_status(table: pd.DataFrame) -> int:
    """0 all done, 1 where as many trials failed as were to be complete, 3 some left."""
    short = table[table["complete"] < table["Trials"]]
    if (short["failed"] >= short["Trials"]).any():
        return 1
    return 3 if len(short) or (table["Reference"] < table["Seeds"]).any() else 0


def _line(settings: Settings, results: str | Path, study: Study | None, counts: Counts) -> dict[str, Any]:
    best = study.best if study else None
    return {
        "Study": settings.name,
        "Trials": settings.trials,
        **vars(counts),
        "Best, %": f"{best.value:.2f}" if best else "-",
        "alpha": f"{best.alpha:.3f}" if best else "-",
        "delta_t": str(best.delta_t) if best else "-",
        "Seeds": len(settings.seeds),
        "Reference": sum(records.path_of(config, results).exists() for config in settings.reference()),
    }
