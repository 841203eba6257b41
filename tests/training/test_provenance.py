"""Provenance, checked against git itself."""

import shutil
import subprocess

import torch

from rigl.training import provenance


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
    (tmp_path / "rigl" / "sparsity").mkdir(parents=True)
    (tmp_path / "rigl" / "sparsity" / "a.py").write_text("1")
    (tmp_path / "rigl" / "campaign.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit() == (head, True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "new.json").write_text("{}")
    assert provenance.commit() == (head, True)  # a new record is no change of the code
    (tmp_path / "rigl" / "campaign.py").write_text("2")
    assert provenance.commit() == (head, True)  # nor is how runs are handed out
    (tmp_path / "rigl" / "sparsity" / "a.py").write_text("2")
    assert provenance.commit() == (head, False)


def test_versions_and_memory():
    assert provenance.versions()["torch"] == torch.__version__
    peak = provenance.peak_memory(torch.device("cpu"))
    assert peak is None or 10**7 < peak < 10**12


def test_a_copy_without_git_knows_its_commit(root, tmp_path, python):
    """`rigl.training.provenance` in the checkout, RIGL_COMMIT in the copy; a changed copy is not clean."""
    checkout, copy = tmp_path / "checkout", tmp_path / "copy"
    for folder in (checkout, copy):
        shutil.copytree(root / "rigl", folder / "rigl", ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".gitignore", *provenance.REQUIREMENTS):
            shutil.copy(root / name, folder / name)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        git(checkout, *command)

    def ask(folder, **environment):
        program = "from rigl.training import provenance; print(provenance.commit())"
        return python("-c", program, cwd=folder, PYTHONPATH=str(folder), **environment).stdout.strip()

    pinned = python("-m", "rigl.training.provenance", cwd=checkout, PYTHONPATH=str(checkout)).stdout.strip()
    head = pinned.partition(":")[0]
    assert ask(checkout) == f"('{head}', True)"
    assert ask(copy, RIGL_COMMIT="") == "(None, None)"
    assert ask(copy, RIGL_COMMIT=pinned) == f"('{head}', True)"
    with (copy / "rigl" / "sparsity" / "masks.py").open("a") as file:
        file.write("# changed\n")
    assert ask(copy, RIGL_COMMIT=pinned) == f"('{head}', False)"
    (checkout / "rigl" / "sparsity" / "masks.py").write_text("")
    failed = python("-m", "rigl.training.provenance", cwd=checkout, PYTHONPATH=str(checkout))
    assert failed.returncode == 1
    assert failed.stderr.strip() == "the package has uncommitted changes: commit them first"
