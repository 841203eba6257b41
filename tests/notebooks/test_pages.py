"""A results page as a notebook: it trains what is missing where asked to, then shows it."""

import json
import shutil

from rigl import records


def test_it_trains_what_is_missing_and_shows_it(root, tmp_path, papermill, monkeypatch):
    notebook = root / "notebooks" / "flops.ipynb"
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    (tmp_path / "results").mkdir()
    shutil.copy(root / "results" / "published.json", tmp_path / "results")
    asked = ["-p", "protocol", "smoke", "-p", "seeds", "3"]
    done = papermill(tmp_path, notebook, "before.ipynb", *asked)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "before.ipynb").read_text().count(">not run<") == 6
    done = papermill(tmp_path, notebook, "after.ipynb", *asked, "-p", "run", "True")
    assert done.returncode == 0, done.stderr
    found = [record for _, record in records.records(tmp_path / "results")]
    assert len(found) == 6
    assert {(each.config.protocol, each.config.seed) for each in found} == {("smoke", 3)}
    page = json.dumps(json.loads((tmp_path / "after.ipynb").read_text()))
    assert ">not run<" not in page
    assert all(f">{each.test_accuracy:.2f}<" in page for each in found)


def test_a_wrong_parameter_stops_it_in_one_line(root, tmp_path, papermill):
    done = papermill(tmp_path, root / "notebooks" / "flops.ipynb", "out.ipynb", "-p", "protocol", "papr")
    assert done.returncode != 0
    assert "protocol='papr' is not on this page: choose from paper, tenth, laptop" in done.stderr
