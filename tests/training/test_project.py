"""The project's folder is found from where a notebook runs."""

import shutil
from pathlib import Path

from rigl.training.project import root as project_root


def test_the_packages_own_checkout_wins_over_any_book_around(tmp_path, monkeypatch, root) -> None:
    monkeypatch.delenv("RIGL_ROOT", raising=False)
    (tmp_path / "_config.yml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    assert project_root() == root


def test_environment_comes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path / "there"))
    assert project_root() == tmp_path / "there"


FIND = "from rigl.training.project import root; print(root())"


def test_a_package_without_a_checkout_looks_around_it(tmp_path, python, root) -> None:
    installed, book = tmp_path / "installed", tmp_path / "book"
    shutil.copytree(root / "rigl", installed / "rigl")
    inner = book / "notebooks" / "deep"
    inner.mkdir(parents=True)
    (book / "_config.yml").touch()
    own = {"PYTHONPATH": str(installed), "RIGL_ROOT": ""}
    for place in (book, inner):
        assert Path(python("-c", FIND, cwd=place, check=True, **own).stdout.strip()) == book
    nowhere = python("-c", FIND, cwd=installed, **own)
    assert nowhere.returncode == 1
    assert "set RIGL_ROOT" in nowhere.stderr.splitlines()[-1]
