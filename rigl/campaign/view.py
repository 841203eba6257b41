"""What a campaign comes to, as tables and lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rigl.campaign import plan
from rigl.campaign.clock import Clock, duration, epoch_flops, together
from rigl.campaign.plan import State
from rigl.campaign.request import Request
from rigl.training.config import RunConfig


def look(request: Request, results: str | Path) -> dict[str, State]:
    """The state of every run, by name."""
    return {state.config.name: state for state in plan.look(request.runs(), results)}


def plan_table(request: Request, states: dict[str, State], expect: Clock) -> pd.DataFrame:
    """A row for each row of the tables, with what is done of it, and the FLOPs and time that are left."""
    lines = []
    for name in request.tables:
        lines += [_line(name, [states[run.name] for run in row], expect) for row in request.rows(name)]
    asked = {run.name for name in request.tables for row in request.rows(name) for run in row}
    extra = [state for name, state in states.items() if name not in asked]
    for config in {_without_seed(state.config): state.config for state in extra}.values():
        same = [s for s in extra if _without_seed(s.config) == _without_seed(config)]
        lines.append(_line("for other rows", same, expect))
    return pd.DataFrame(lines)


def status_table(request: Request, states: dict[str, State]) -> pd.DataFrame:
    """How many runs of each table are in which state."""
    lines = []
    for name in request.tables:
        mine = [states[run.name] for row in request.rows(name) for run in row]
        counts = Counter(state.status for state in mine)
        lines.append({"Table": name, "Runs": len(mine), **{each: counts[each] for each in plan.STATUSES}})
    return pd.DataFrame(lines)


def details(states: Iterable[State]) -> list[str]:
    """A line for every run that is on, was begun, diverged or failed."""
    found = []
    for state in states:
        name, epochs = state.config.name, f"{state.epochs} of {state.config.total_epochs} epochs done"
        if state.status in ("running", "begun"):
            found.append(f"{state.status}: {name}, {epochs}")
        elif state.status in ("diverged", "failed", "damaged"):
            found.append(f"{state.status}: {name}" + (f": {state.error}" if state.error else ""))
    return found


def headline(
    states: Sequence[State], expect: Clock | None, workers: int = 1, device: str = "auto"
) -> list[str]:
    """How much there is, how much is left, and what that is judged by; no time without `expect`."""
    counts = Counter(state.status for state in states)
    words = ", ".join(f"{counts[each]} {each}" for each in plan.STATUSES if counts[each])
    lines = [f"{len(states)} runs: {words}"]
    left = [state for state in states if not state.done]
    if left:
        flops = f"left: {sum(_flops(state) for state in left):.1e} FLOPs (masks save none here)"
        if expect is None:
            return [*lines, flops]
        expected = [(state, expect(state.config)) for state in left]
        seconds = sum(_share(state) * e.seconds / together(e, workers, device) for state, e in expected)
        by = f" with {workers} workers" if workers > 1 else ""
        lines.append(f"{flops}, about {duration(seconds)}{by}")
        lines += [f"judged by {basis}" for basis in dict.fromkeys(e.basis for _, e in expected)]
    return lines


def exit_status(states: Iterable[State]) -> int:
    """0 all done, 1 some failed, 3 some left."""
    found = {state.status for state in states}
    return 1 if found & {"failed", "damaged"} else 3 if found - set(plan.DONE) else 0


def _line(name: str, states: Sequence[State], expect: Clock) -> dict[str, Any]:
    config = states[0].config
    left = [state for state in states if not state.done]
    seconds = sum(_share(state) * expect(state.config).seconds for state in left)
    return {
        "Table": name,
        "Data": config.dataset,
        "Model": config.model,
        "Method": config.method,
        "Masks": config.distribution_name or "-",
        "Size": "-" if config.method == "dense" else config.size,
        "Length": f"{config.multiplier}x",
        "Changed": config.changes("flops") or "-",
        "Done": f"{len(states) - len(left)}/{len(states)}",
        "FLOPs left": f"{sum(_flops(state) for state in left):.1e}" if left else "-",
        "Time left": duration(seconds) if left else "-",
    }


def _share(state: State) -> float:
    """How much of a run is left."""
    return 0.0 if state.done else 1 - state.epochs / state.config.total_epochs


def _flops(state: State) -> float:
    return _share(state) * state.config.total_epochs * epoch_flops(state.config)


def _without_seed(config: RunConfig) -> str:
    return RunConfig(**{**config.model_dump(), "seed": 0}).name
