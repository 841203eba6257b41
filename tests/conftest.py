"""What several tests need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root():
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data():
    """Asks for a real data set by name; a test without it skips and says how to have it."""
    from rigl.data import data_root

    def ask(name):
        path = data_root() / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"no {path}: set RIGL_DATA, or run 'python -m rigl.data {name}' once")
        return path

    return ask


@pytest.fixture(scope="session")
def python():
    """Run a Python program in a process of its own, from a folder outside the project."""

    def run(*arguments, cwd, check=False, **environment):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=check,
        )

    return run
