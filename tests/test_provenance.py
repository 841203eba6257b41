"""Provenance, checked against git itself."""

import subprocess

import torch

from rigl import provenance


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_commit_and_whether_the_package_is_as_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() == (None, None)
    git(tmp_path, "init", "-q")
    (tmp_path / "rigl").mkdir()
    (tmp_path / "rigl" / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit() == (head, True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "new.json").write_text("{}")
    assert provenance.commit() == (head, True)  # a new record is no change of the code
    (tmp_path / "rigl" / "a.py").write_text("2")
    assert provenance.commit() == (head, False)


def test_versions_and_memory():
    assert provenance.versions()["torch"] == torch.__version__
    peak = provenance.peak_memory(torch.device("cpu"))
    assert peak is None or 10**7 < peak < 10**12
