"""What campaigns did in a folder of results, a line each; whatever matters is in the records themselves."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def path_of(results: str | Path) -> Path:
    """Where the journal of a folder of results lies."""
    return Path(results) / ".checkpoints" / "campaign.log"


def note(results: str | Path, event: str, run: str, **more: Any) -> None:
    """Append a line. Several processes may at once, and a disk that is full keeps no run from going on."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"time": time, "pid": os.getpid(), "event": event, "run": run, **more})
    with suppress(OSError), path_of(results).open("ab", buffering=0) as file:
        # The line break comes first too, since a full disk may have cut the last line short.
        file.write(f"\n{line}\n".encode())


def notes(results: str | Path) -> list[dict[str, Any]]:
    """All lines, oldest first, but for those that were cut short."""
    found = []
    with suppress(FileNotFoundError):
        for line in path_of(results).read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return [each for each in found if isinstance(each, dict)]


def failures(results: str | Path) -> dict[str, str]:
    """{run: error} of the runs that failed when last tried."""
    last = {str(each.get("run")): each for each in notes(results)}
    return {run: str(each.get("error")) for run, each in last.items() if each.get("event") == "fail"}
