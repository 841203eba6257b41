"""The results page: what it says of runs, and that it needs none."""

import re

from book.report import results, runs
from report.sample import record
from rigl.sparsity.methods import METHODS
from rigl.training import records
from rigl.training.config import RunConfig


def shown(frame, name: str) -> str:
    return "".join(output["text/html"] for output in results.outputs(frame, name))


def test_no_runs(project) -> None:
    assert runs.load().empty
    assert "No runs yet" in shown(runs.load(), "paper")


def test_variants_do_not_share_a_mean(project) -> None:
    for run in (record(80.0), record(82.0, seed=1), record(50.0, seed=2, alpha=0.5, delta_t=50)):
        records.save(run, project / "results")
    page = shown(runs.load(), "laptop")
    assert "81.00 ± 1.41" in page
    assert "RigL (ERK), alpha=0.5, delta_t=50" in page


def cells(frame) -> list[dict[str, str]]:
    """`results.readable`, a button by its text."""
    found = results.readable(frame).map(lambda cell: re.sub(r"<button[^>]*>([^<]*)<.*", r"\1", str(cell)))
    return found.to_dict("records")


def test_a_variant_is_a_row_of_its_own(project) -> None:
    for run in (record(80.0), record(60.0, seed=1, alpha=0.5)):
        records.save(run, project / "results")
    assert [row["Setting"] for row in cells(runs.load())] == ["RigL (ERK)", "RigL (ERK), alpha=0.5"]


def test_a_diverged_run_is_counted_and_not_averaged(project) -> None:
    for run in (record(80.0), record(None, seed=1), record(None, method="set")):
        records.save(run, project / "results")
    first, second = cells(runs.load())
    assert (first["Accuracy, %"], first["Seeds"]) == ("80.00", "1 (1 diverged)")
    assert (second["Accuracy, %"], second["Seeds"]) == ("diverged", "0 (1 diverged)")


def test_an_accuracy_opens_its_own_runs(project) -> None:
    made = record(80.0), record(81.0, seed=1), record(70.0, method="set")
    for run in made:
        records.save(run, project / "results")
    rigl, other = results.readable(runs.load())["Accuracy, %"]
    linked = [re.findall(r'href="../results/fashion-mnist/([^"]*).json"', cell) for cell in (rigl, other)]
    assert linked == [[made[0].name, made[1].name], [made[2].name]]


def test_a_usual_run_is_no_variant() -> None:
    for method in METHODS:
        for protocol in ("paper", "tenth", "laptop"):
            assert (
                RunConfig(method=method, protocol=protocol, dataset="cifar10", seed=3).changes("preset") == ""
            )
    assert RunConfig(dataset="digits", epochs=3).changes("preset") == "epochs=3"


def test_protocols_stay_apart_and_say_what_they_are(project) -> None:
    records.save(record(80.0), project / "results")
    records.save(record(99.0, protocol="smoke", dataset="digits"), project / "results")
    laptop, smoke = (shown(runs.load(), name) for name in ("laptop", "smoke"))
    assert "80.00" in laptop
    assert "99.00" not in laptop
    assert "99.00" in smoke
    assert "not the report&#39;s protocol" in laptop
    assert "LeNet-300-100 on Fashion-MNIST, 20 epochs" in laptop
    assert "the report's own protocol" in results.caption("paper", "cifar10", "wrn-22-2")


def test_runs_can_be_traced_and_are_escaped(project) -> None:
    records.save(record(80.0, device="<img src=x onerror=alert(1)>"), project / "results")
    page = shown(runs.load(), "laptop")
    assert "&lt;img" in page
    assert "<img" not in page
    assert "01234567 (changed)" in page
    assert record().name in page


def test_costs_that_change_are_drawn_for_one_density_and_seed(project) -> None:
    given = [record(method=name, density=0.1, seed=seed) for name in ("snfs", "pruning") for seed in (0, 1)]
    given += [record(method="snfs", density=0.2), record(method="rigl")]
    for run in given:
        records.save(run, project / "results")
    page = shown(runs.load(), "laptop")
    assert "cost changes while they train, density 0.1, seed 0" in page
    assert page.count("forward FLOPs, relative to dense") == 1
    assert "SNFS" not in page[page.index("cost changes") :], "flat by definition without convolutions"
    assert "forward FLOPs" not in "".join(o["text/html"] for o in results.outputs(runs.load(), "paper"))
