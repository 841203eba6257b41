"""The provenance of a record: commit, versions, memory."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rigl
from rigl.training.config import ConfigError

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).parents[2]
# The code that determines a result, unlike pages or the scheduling of runs.
DECIDING = ("rigl/sparsity", "rigl/training")
REQUIREMENTS = ("requirements.txt", "requirements-book.txt", "requirements.lock")


def commit(*also: str) -> tuple[str | None, bool | None]:
    """The checkout's commit, and whether the package, its requirements and the folders `also` are unchanged.

    In a copy without git, the commit is read from the environment's ``RIGL_COMMIT``, the result of `pinned`
    in the checkout that was copied; it is clean if the files are still the same. (None, None) without either.
    """
    head = _git("rev-parse", "HEAD")
    if head is not None and (ROOT / ".git").exists():
        changes = _git("status", "--porcelain", "--", *DECIDING, *also, *REQUIREMENTS)
        return head, changes == ""
    name, _, digest = os.environ.get("RIGL_COMMIT", "").partition(":")
    return (name, digest == _digest()) if name else (None, None)


def pinned() -> str:
    """The commit and a hash of the files that determine results, for ``RIGL_COMMIT`` in a copy without git.

    Raises ConfigError if files have changed since the commit.
    """
    head, clean = commit()
    if not head or not clean:
        raise ConfigError("the package has uncommitted changes: commit them first")
    return f"{head}:{_digest()}"


def _digest() -> str:
    code = (path for folder in DECIDING for path in sorted((ROOT / folder).rglob("*.py")))
    files = [*code, *(ROOT / name for name in REQUIREMENTS)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of the software that a run is computed with."""
    import numpy as np
    import torch  # takes seconds to import

    return {
        "rigl": rigl.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes: torch's on a GPU, else that of this process since its start. None on Windows."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return None
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the process was before it became this program, too
        peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if peak:
            return 1024 * int(peak[1])
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    try:
        print(pinned())
    except ConfigError as error:
        sys.exit(str(error))
