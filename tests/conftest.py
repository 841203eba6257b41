"""What several tests need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
settings.register_profile("rigl", deadline=None)  # no test asserts on a wall-clock time
settings.load_profile("rigl")
# What takes longest, to be begun first: processes then end at about the same time. The first builds the book,
# for which the browser's other tests would wait.
LONG = (
    "browser/test_book.py",
    "campaign/test_runner.py",
    "training/test_training.py",
    "sparsity/test_sparsifier.py",
    "browser/test_pages.py",
    "campaign/test_tuning.py",
    "campaign/test_cluster.py",
    "browser/",
    "sparsity/test_execution.py",
    "training/test_engine.py",
)


def pytest_collection_modifyitems(items):
    def place(item):
        name = item.path.relative_to(ROOT / "tests").as_posix()
        return next((index for index, each in enumerate(LONG) if name.startswith(each)), len(LONG))

    items.sort(key=place)


@pytest.fixture(scope="session")
def root():
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data():
    """Asks for a real data set by name; a test without it skips and says how to have it."""
    from rigl.training.data import data_root

    def ask(name):
        path = data_root() / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"no {path}: set RIGL_DATA, or run 'python -m rigl.training.data {name}' once")
        return path

    return ask


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 300 KB, and what mounts it again with other options."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place, lambda options: subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)
    subprocess.run(["umount", "-l", place], check=True)


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
