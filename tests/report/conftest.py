"""A project of its own for each test: the report's figures, and no run."""

import shutil
from pathlib import Path

import pytest

PUBLISHED = Path(__file__).parents[2] / "results" / "published.json"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The project's folder, which has `results/published.json` alone."""
    (tmp_path / "results").mkdir()
    shutil.copy(PUBLISHED, tmp_path / "results")
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    return tmp_path
