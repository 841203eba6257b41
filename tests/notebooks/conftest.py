"""How a user runs a notebook."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def papermill(root):
    """Run papermill in a process of its own, from another folder than the project's."""

    def run(folder, *arguments):
        return subprocess.run(
            [Path(sys.executable).with_name("papermill"), *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
