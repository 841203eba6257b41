"""The campaign notebook, run by papermill as a user runs it: from another folder, in a process of its own."""

import json

from report.sample import record as sample

from rigl.campaign import notebook
from rigl.campaign.experiments import configs
from rigl.training import records
from rigl.training.config import RunConfig


def shown(executed):
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    found = [output.get("text", output.get("data", {}).get("text/html", "")) for output in outputs]
    return "\n".join("".join(text) for text in found)


def test_it_trains_what_is_asked_and_shows_plan_and_status(root, papermill, tmp_path):
    options = {"protocol": "smoke", "model": "lenet-300-100", "densities": [0.2], "seed": 0}
    asked = configs("figure5", **options)
    # All but one run are there, so that only that one is trained.
    for config in asked[:-1]:
        records.save(sample(11.11, **config.model_dump()), tmp_path / "results")
    done = papermill(
        tmp_path, root / "notebooks" / "campaign.ipynb", "out.ipynb", "-p", "tables", "figure5",
        "-p", "protocol", "smoke", "-p", "model", "lenet-300-100", "-p", "densities", "0.2",
        "-p", "seeds", "0", "-p", "run", "True", "-p", "device", "cpu", "-p", "time_limit", "10m",
        "-p", "results", tmp_path / "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = shown(json.loads((tmp_path / "out.ipynb").read_text()))
    assert "4 runs: 3 finished, 1 left" in text
    assert "<td>rigl-sm</td>" in text
    assert f"{asked[-1].name}: " in text
    assert "done: 4 of 4 runs" in text
    record = records.load(records.path_of(asked[-1], tmp_path / "results"))
    assert record.config == RunConfig(
        method="rigl-sm", distribution="uniform", density=0.2, model="lenet-300-100"
    )


def test_help_lists_every_parameter(help_of):
    text = help_of("campaign")
    for name in notebook.PARAMETERS:
        assert f"  {name}: " in text, name
