"""Helpers of the training notebook: check its parameters, announce and summarise its run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rigl.training import records, tracking
from rigl.training.config import ConfigError, RunConfig, choose_protocol, parameters
from rigl.training.devices import resolve_device
from rigl.training.estimate import estimator
from rigl.training.project import results_folder, root
from rigl.training.records import Record
from rigl.training.train import threads

KNOBS = (
    *("method", "density", "distribution", "dataset", "model", "protocol", "multiplier", "epochs"),
    *("flops", "validation", "t_end", "augmentation"),
    *("learning_rate", "alpha", "delta_t", "decay", "seed", "preset", "precision", "execution"),
)
PARAMETERS = (*KNOBS, "device", "results", "tracker")


def configure(namespace: Mapping[str, Any], before: set[str]) -> tuple[RunConfig, dict[str, Any]]:
    """The config of the run that a notebook's parameters describe, and the options of `rigl.train`.

    namespace  the notebook's ``globals()`` after its parameters were set
    before     the names defined before its parameters: every new name must be a parameter

    Prints what will be trained and how long that should take. Raises ConfigError, one line, for an unknown
    parameter or an invalid value.
    """
    given = parameters(namespace, before, PARAMETERS, {"before", "config", "options", "record"})
    device, folder = str(given.pop("device", "auto")), given.pop("results", "results")
    tracker = given.pop("tracker", None)
    tracking.check(tracker)
    cuda = resolve_device(device).type == "cuda"
    protocol, dataset = choose_protocol(str(given.pop("protocol", "auto")), given.pop("dataset", None), cuda)
    config = RunConfig(protocol=protocol, dataset=dataset, **given)
    results = results_folder(folder)
    print(_announcement(config, device, results))
    watched = {} if tracker is None else {"tracker": tracker}
    return config, {"device": device, "results": results, **watched}


def summary(record: Record, results: Path) -> str:
    """A run in a few lines: accuracy, active parameters, cost, and the path of its record."""
    cost, origin = record.flops, record.provenance
    accuracy = "diverged" if record.test_accuracy is None else f"{record.test_accuracy:.2f} %"
    return "\n".join(
        [
            f"test accuracy: {accuracy} ({record.name})",
            f"active parameters: {record.active_parameters:,} of {record.parameters:,}",
            f"FLOPs against dense: training {cost.train_ratio:.3f}, inference {cost.test_ratio:.3f}",
            f"trained in {origin.wall_seconds:.0f} s on {origin.device}, {origin.precision}",
            f"record: {_short(records.path_of(record.config, results))}",
        ]
    )


def closing_lines(executed: str | Path, book: str | Path) -> list[str]:
    """The last lines of `make`: the accuracy in the executed notebook, the run's page, the book."""
    cells = json.loads(Path(executed).read_text())["cells"]
    printed = [line for cell in cells for out in cell.get("outputs", []) for line in out.get("text", [])]
    accuracy = next((line.strip() for line in printed if line.startswith("test accuracy:")), None)
    if accuracy is None:
        raise ConfigError(f"{executed} has no finished run")
    page = Path(book) / "runs" / Path(executed).with_suffix(".html").name
    return [accuracy, f"the run's page: {page}", f"the book: {Path(book) / 'index.html'}"]


def _announcement(config: RunConfig, device: str, results: Path) -> str:
    what = (
        f"protocol {config.protocol}: {config.label} at {config.size}, {config.model} on "
        f"{config.dataset}, {config.total_epochs} epochs"
    )
    if records.path_of(config, results).exists():
        return f"{what}: already trained; reading its record"
    if config.source and records.load_masks(config.source, results) is None:
        what += f", and first the {config.source.method} run that it starts from"
    where = resolve_device(device)
    cores = f", threads: {threads(config)}" if where.type == "cpu" else ""
    found = estimator(device, results)(config)
    time = f"{found}, based on {found.basis}" if found else "no earlier run to estimate the time from"
    return f"{what}, on {where}{cores}: {time}"


def _short(path: Path) -> str:
    return str(path.relative_to(root()) if path.is_relative_to(root()) else path)


if __name__ == "__main__":
    print("\n".join(closing_lines(*sys.argv[1:3])))
