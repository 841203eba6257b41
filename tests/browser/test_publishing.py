"""What hosts read: the workflow that publishes the book, and what Binder installs."""

from pathlib import Path

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
    assert all(name.rpartition("@v")[2].isdecimal() for name in used)


def test_binder_installs_what_the_project_names() -> None:
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    named = [line.split()[1] for line in lines if line.startswith(("-r ", "-c "))]
    assert all((ROOT / "binder" / name).resolve().is_file() for name in named)
    assert (ROOT / "binder" / "postBuild").stat().st_mode & 0o111
