"""The training notebook, run by papermill as a user runs it: from another folder, in a process of its own."""

import json

import pytest

from rigl.training import notebook, records
from rigl.training.config import ConfigError, RunConfig


@pytest.fixture(scope="module")
def success(root, papermill, tmp_path_factory):
    folder = tmp_path_factory.mktemp("papermill")
    source = root / "notebooks" / "train.ipynb"
    done = papermill(
        folder, source, "out.ipynb", "-p", "method", "rigl", "-p", "density", "0.2",
        "-p", "model", "lenet-300-100", "-p", "epochs", "2", "-p", "device", "cpu",
        "-p", "results", folder / "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "out.ipynb").read_text())


def printed(executed):
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(output.get("text", [])) for output in outputs)


def test_a_run_leaves_its_record_and_says_so(success):
    folder, executed = success
    config = RunConfig(method="rigl", density=0.2, model="lenet-300-100", epochs=2)
    record = records.load(records.path_of(config, folder / "results"))
    text = printed(executed)
    assert text.startswith(
        "protocol smoke: rigl-erk at density 0.2, lenet-300-100 on digits, 2 epochs, on cpu, threads: 1: "
    )
    assert f"test accuracy: {record.test_accuracy:.2f} %" in text
    assert record.config == config


def test_the_plots_are_stored_for_jupyter_and_for_the_book(success):
    _, executed = success
    data = [out["data"] for cell in executed["cells"] for out in cell.get("outputs", []) if "data" in out]
    plots = [each for each in data if "application/vnd.plotly.v1+json" in each]
    assert len(plots) == 3
    assert all("text/html" in each for each in plots)
    titles = json.dumps([each["application/vnd.plotly.v1+json"]["data"] for each in plots])
    assert "fc1" in titles
    assert len(json.dumps(executed)) < 300_000, "plotly.js itself must not be in it"


def test_the_closing_lines(success, tmp_path):
    folder, _ = success
    lines = notebook.closing_lines(folder / "out.ipynb", "_build/html")
    assert len(lines) == 3
    assert lines[0].startswith("test accuracy: ")
    assert lines[1].endswith("_build/html/runs/out.html")
    empty = tmp_path / "empty.ipynb"
    empty.write_text('{"cells": []}')
    with pytest.raises(ConfigError, match="no finished run"):
        notebook.closing_lines(empty, "_build/html")


def test_a_wrong_parameter_is_one_line_and_exit_1(root, papermill, tmp_path):
    source = root / "notebooks" / "train.ipynb"
    wrong = ("-p", "methd", "rigl", "-p", "results", tmp_path / "results")
    done = papermill(tmp_path, source, "out.ipynb", *wrong)
    assert done.returncode == 1
    line = "ConfigError: unknown parameter 'methd' (did you mean 'method'?)"
    assert done.stderr.strip().splitlines()[-1].startswith(line)
    assert not list(tmp_path.glob("results/*/*.json"))


def test_help_lists_every_parameter_with_its_meaning(help_of):
    text = help_of("train")
    words = text.replace("\n", " ")
    for name in notebook.PARAMETERS:
        assert f"  {name}: " in text, name
    assert "rules in which published codes differ" in words
    assert "Unknown" not in words


def test_the_cells_run_again_in_a_live_kernel(root, tmp_path):
    """A parameter that was edited counts when all cells, or those from it on, run once more."""
    text = (root / "notebooks" / "train.py").read_text()
    cells = [cell.partition("\n") for cell in text.split("\n# %%")]
    snapshot, parameters, check = (
        next(code for head, _, code in cells if "before = set" in code),
        next(code for head, _, code in cells if 'tags=["parameters"]' in head),
        next(code for head, _, code in cells if "notebook.configure" in code),
    )
    kernel = {}

    def enter(*codes):
        for code in codes:
            exec(code, kernel)
        return kernel["config"]

    def edited(density):
        changed = parameters.replace("= 0.1 ", f"= {density} ").replace('"results"', repr(str(tmp_path)))
        assert changed != parameters
        return changed

    assert enter(snapshot, edited(0.2), check).density == 0.2
    assert enter(snapshot, edited(0.5), check).density == 0.5
    assert enter(edited(0.7), check).density == 0.7


def test_configure_checks_before_it_starts(tmp_path):
    def ask(**given):
        return notebook.configure({**given, "_hidden": 1, "known": 2}, {"known"})

    config, options = ask(density=0.5, dataset=None, device="cpu", results=str(tmp_path))
    assert config == RunConfig(density=0.5)
    assert options == {"device": "cpu", "results": tmp_path}
    _, options = ask(device="cpu", results=str(tmp_path), tracker="tensorboard")
    assert options["tracker"] == "tensorboard"
    for wrong, words in (
        ({"density": "ten"}, "density='ten' is not right: it should be a valid number"),
        ({"device": "gpu"}, "device='gpu' is not available here"),
        ({"protocol": "papr"}, "protocol='papr' is unknown"),
        ({"dataset": "digits", "protocol": "laptop"}, "not defined for dataset='digits'"),
        ({"batch_size": 3}, "unknown parameter 'batch_size'"),
        ({"tracker": "tensorbord"}, "tracker='tensorbord' is unknown"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            ask(**{"device": "cpu", "results": str(tmp_path), **wrong})
        assert len(caught.value._render_traceback_()) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be a folder: Not a directory"):
        ask(device="cpu", results=str(tmp_path / "file" / "x"))
