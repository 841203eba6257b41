"""What hosts read: the workflow that publishes the book, and what Binder installs."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_the_workflow_builds_as_the_readme_says_and_may_do_no_more_than_it_must() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert "make book" in [step.get("run") for step in build["steps"]]
    assert "\nmake book " in (ROOT / "README.md").read_text()
    assert workflow["permissions"] == {}
    assert build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    used = [step["uses"] for job in (build, publish) for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch("actions/[a-z-]+@[0-9a-f]{40}", name) for name in used)


def test_locks_have_a_hash_for_every_package_and_binder_installs_their_versions() -> None:
    """Without the hashes: its torch is another build."""
    script = ROOT / "binder" / "postBuild"
    assert script.stat().st_mode & 0o111
    assert "-r requirements.txt" in script.read_text()
    for name in ("requirements", "requirements-book", "requirements-test"):
        pins = re.findall(r"^[\w.-]+==(?:[^\\\n]|\\\n)+", (ROOT / f"{name}.lock").read_text(), flags=re.M)
        assert len(pins) > 100
        assert all("--hash=sha256:" in pin for pin in pins)
    (command,) = re.findall(r"sed .* requirements\.lock", script.read_text())
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) > 100
    assert all(re.fullmatch(r"[\w.-]+==\S+( ; [^\\]+)?", line) for line in lines)


def test_what_is_damaged_is_named_where_the_book_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import rigl_book

    damaged = []
    for folder in ("fashion-mnist", "studies"):
        (tmp_path / "results" / folder).mkdir(parents=True)
        cut, *others = sorted((ROOT / "results" / folder).glob("*.json"))
        for other in others[:1]:
            shutil.copy(other, tmp_path / "results" / folder)
        damaged.append(tmp_path / "results" / folder / cut.name)
        damaged[-1].write_bytes(cut.read_bytes()[:500])
    rigl_book.name_damaged(SimpleNamespace(srcdir=tmp_path))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for path, line in zip(damaged, lines, strict=True):
        assert line.startswith(f"{path}: not a valid ")
        assert line.endswith("; it is left out")
