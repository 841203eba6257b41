"""The tuning notebook, run by papermill as a user runs it: from another folder, in a process of its own."""

import json

import pytest

from rigl.campaign import notebook, studies
from rigl.training.config import ConfigError


def test_it_does_a_study_and_shows_it(root, papermill, tmp_path):
    done = papermill(
        tmp_path, root / "notebooks" / "tune.ipynb", "out.ipynb", "-p", "epochs", "2",
        "-p", "seeds", "0", "-p", "trials", "2", "-p", "device", "cpu", "-p", "results", tmp_path / "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (study,) = studies.studies(tmp_path / "results")
    assert len(study.complete) == 2
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    text = "".join("".join(out.get("text", [])) for out in outputs)
    text += "".join("".join(each.get("text/html", each.get("text/markdown", ""))) for each in data)
    assert "done: 2 of 2 trials (0 diverged), 1 of 1 reference runs" in text
    assert f"study {study.name}\n0 of 2 trials complete\nleft: 2, about " in text
    for name in study.best.runs:
        assert name[-8:] in text
    assert "on a single seed, which decides nothing" in text
    assert sum("application/vnd.plotly.v1+json" in each for each in data) == 1


def test_help_lists_every_parameter_with_its_meaning(help_of):
    text = help_of("tune")
    for name in notebook.TUNING_PARAMETERS:
        assert f"  {name}: " in text, name
    assert "Unknown" not in text


def test_configure_checks_before_it_starts(tmp_path):
    def ask(**given):
        usual = {"protocol": "smoke", "density": 0.2, "distribution": "erk", "device": "cpu"}
        return notebook.configure_tuning({**usual, "results": str(tmp_path), **given, "known": 2}, {"known"})

    tuning = ask(seeds=3, trials=2, model=None)
    assert (tuning.settings.seeds, tuning.settings.trials) == ((3,), 2)
    for wrong, words in (
        ({"denisty": 0.1}, "unknown parameter 'denisty'"),
        ({"density": "0.1,0.2"}, "these are 2 studies: give one density and one distribution"),
        ({"density": "ten"}, "density 'ten' is not a list of numbers"),
        ({"workers": 0}, "workers=0 is not right"),
        ({"trials": "many"}, "trials='many' is not right"),
        ({"method": "static"}, "method='static' does not use both"),
        ({"device": "gpu"}, "device='gpu' is not available here"),
        ({"tracker": "wnb"}, "tracker='wnb' is unknown"),
        ({"time_limit": "soon"}, "time limit 'soon' is invalid"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            ask(**wrong)
        assert len(caught.value._render_traceback_()) == 1
    assert not list(tmp_path.iterdir())
