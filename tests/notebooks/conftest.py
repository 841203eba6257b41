"""How a user runs a notebook, and asks what its parameters are."""

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


@pytest.fixture(scope="session")
def help_of(root):
    """What ``papermill --help-notebook`` says of a notebook."""
    from click.testing import CliRunner
    from papermill.cli import papermill

    def ask(name):
        done = CliRunner().invoke(papermill, ["--help-notebook", str(root / "notebooks" / f"{name}.ipynb")])
        assert done.exit_code == 0
        return done.output

    return ask
