"""A results page as a notebook: it trains what is missing where asked to, then shows it."""

import shutil

from report.sample import record

from rigl.campaign.experiments import configs
from rigl.training import records


def test_it_trains_what_is_missing_and_shows_it(root, tmp_path, papermill, monkeypatch):
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    (tmp_path / "results").mkdir()
    for name in ("published.json", "layers.json"):
        shutil.copy(root / "results" / name, tmp_path / "results")
    *known, missing = configs("figure4", protocol="smoke", model="lenet-300-100", seed=3)
    for config in known:
        records.save(record(11.11, **config.model_dump()), tmp_path / "results")
    notebook, asked = root / "notebooks" / "flops.ipynb", ["-p", "protocol", "smoke", "-p", "seeds", "3"]
    done = papermill(tmp_path, notebook, "out.ipynb", *asked, "-p", "run", "True")
    assert done.returncode == 0, done.stderr
    made = records.load(records.path_of(missing, tmp_path / "results"))
    page = (tmp_path / "out.ipynb").read_text()
    assert page.count(">11.11<") >= len(known) == 5
    assert f">{made.test_accuracy:.2f}<" in page
    assert ">not run<" not in page
