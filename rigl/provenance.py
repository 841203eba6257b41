"""Where a record comes from: commit, versions, memory."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import rigl

ROOT = Path(__file__).parents[1]


def commit() -> tuple[str | None, bool | None]:
    """The checkout's commit, and whether the package and its locked versions are as in it; (None, None)
    outside a checkout."""
    head = _git("rev-parse", "HEAD")
    if head is None or not (ROOT / ".git").exists():
        return None, None
    changes = _git("status", "--porcelain", "--", "rigl", "requirements.txt", "requirements.lock")
    return head, changes == ""


def versions() -> dict[str, str]:
    """Versions of what computes a run."""
    return {
        "rigl": rigl.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def peak_memory(device: torch.device) -> int | None:
    """Most bytes held at once: by torch on a GPU, else by this process since it began; None where the
    system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return None
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
