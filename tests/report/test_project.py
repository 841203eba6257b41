"""The project's folder is found from where a notebook runs."""

import pytest

from rigl.report.project import root


def test_nearest_folder_with_a_book(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("RIGL_ROOT", raising=False)
    inner = tmp_path / "notebooks" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "_config.yml").touch()
    for place in (tmp_path, tmp_path / "notebooks", inner):
        monkeypatch.chdir(place)
        assert root() == tmp_path


def test_environment_comes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path / "there"))
    assert root() == tmp_path / "there"


def test_nowhere(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("RIGL_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="set RIGL_ROOT"):
        root()
