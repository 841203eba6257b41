"""Every run in one table, and as files to take away."""

import json
import re
import zipfile

import pandas as pd

from book.report import results, runs
from report.sample import record
from rigl.sparsity.methods import METHODS
from rigl.training import records
from rigl.training.config import RunConfig


def shown(frame) -> list[dict[str, str]]:
    """The rows that the page hands to its script."""
    data = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', results.html(frame))[0])
    return [dict(zip(data["heads"], row, strict=True)) for row in data["rows"]]


def test_no_runs(project) -> None:
    assert runs.load().empty
    assert "No runs yet" in results.html(runs.load())


def test_each_run_is_a_row_that_leads_to_its_record(project) -> None:
    for run in (record(80.0), record(None, seed=1), record(60.0, alpha=0.5, method="set")):
        records.save(run, project / "results")
    rows = {row["Record"]: row for row in shown(runs.load())}
    assert all((project / "results" / name).exists() for name in rows)
    assert sorted(row["Accuracy, %"] for row in rows.values()) == ["60.00", "80.00", "diverged"]
    changed = next(row for row in rows.values() if row["Method"] == "SET")
    assert (changed["Changed"], changed["Masks"], changed["Network"]) == ("alpha 0.5", "ERK", "LeNet-300-100")


def test_names_are_escaped(project) -> None:
    records.save(record(80.0, device="</script><img src=x>"), project / "results")
    frame = runs.load().assign(model="</script><img src=x>")
    assert "<img" not in results.html(frame)


def test_a_choice_for_every_value_and_no_other(project) -> None:
    for run in (record(80.0), record(60.0, method="set"), record(70.0, protocol="smoke", dataset="digits")):
        records.save(run, project / "results")
    page = results.html(runs.load())
    assert re.findall(r"<option>(\w+)</option>", page)[:2] == ["laptop", "smoke"]
    assert "<option>SET</option>" in page


def test_all_of_it_is_one_csv_and_one_zip(project, tmp_path) -> None:
    made = record(80.0), record(81.0, seed=1)
    for run in made:
        records.save(run, project / "results")
    results.save(runs.load(), project / "results", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / results.CSV)
    assert list(table["Accuracy, %"]) == [80.0, 81.0]
    assert set(results.FULL) <= set(table)
    with zipfile.ZipFile(tmp_path / "out" / results.ARCHIVE) as archive:
        assert set(archive.namelist()) == {results.CSV, "published.json", *table["Record"]}
        assert json.loads(archive.read(table["Record"][0]))["name"] == made[0].name


def test_a_usual_run_is_no_variant() -> None:
    for method in METHODS:
        for protocol in ("paper", "tenth", "laptop"):
            assert (
                RunConfig(method=method, protocol=protocol, dataset="cifar10", seed=3).changes("preset") == ""
            )
    assert RunConfig(dataset="digits", epochs=3).changes("preset") == "epochs=3"


def test_a_caption_says_whose_protocol_it_is() -> None:
    assert "the report's own protocol" in results.caption("paper", "cifar10", "wrn-22-2")
    told = results.caption("laptop", "fashion-mnist", "lenet-300-100")
    assert "not the report's protocol: LeNet-300-100 on Fashion-MNIST, 20 epochs" in told
