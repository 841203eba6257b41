"""Checks on the report's numbers against arithmetic by hand, pairs of runs, and steps over the seeds that all
have."""

import re
from statistics import mean, stdev

import pandas as pd
import pytest

from book.report import discrepancies, runs
from report.sample import record
from rigl.training import records


def test_flops_that_differ() -> None:
    found = discrepancies.flops_that_differ()
    rows = {(row["Data"], row["Setting"], row["Density"]): row for _, row in found.iterrows()}
    small = rows["CIFAR-10", "Small-dense", "0.1"]
    # 5, 10, 20 and 40 channels: two 3x3 convolutions a block, and the two shortcuts that are there.
    stem, first = 27 * 5, 9 * 5 * 10 + 9 * 10 * 10 + 5 * 10 + 4 * 9 * 10 * 10
    second = 9 * 10 * 20 + 9 * 20 * 20 + 10 * 20 + 4 * 9 * 20 * 20
    third = 9 * 20 * 40 + 9 * 40 * 40 + 20 * 40 + 4 * 9 * 40 * 40
    macs = 1024 * (stem + first) + 256 * second + 64 * third + 40 * 10
    assert small["Inference, by the rules"] == f"{macs / 157_730_048:.3f}"
    assert small["Inference, printed"] == "0.11"
    assert ("CIFAR-10", "RigL (ERK)", "0.1") not in rows, "0.17 is what the rules give"
    assert ("CIFAR-10", "RigL (ERK), 2x", "0.1") in rows


def test_tables_that_differ() -> None:
    (row,) = discrepancies.tables_that_differ().to_dict("records")
    assert (row["Setting"], row["Density"]) == ("RigL (uniform)", "0.2")
    assert row["Accuracy, %"] == "92.6 (Table 2, Table 4); 92.9 (Table 2 of the supplement, Table 5)"


def test_costs_that_contradict() -> None:
    found = discrepancies.costs_that_contradict()
    cells = {(row["Data"], row["Setting"], row["Density"]): row for _, row in found.iterrows()}
    assert set(cells) == {
        ("CIFAR-10", "SNFS (uniform), 2x", "0.2"),
        ("CIFAR-100", "Lottery ticket", "0.1"),
        ("CIFAR-100", "Lottery ticket", "0.2"),
    }
    assert cells["CIFAR-10", "SNFS (uniform), 2x", "0.2"]["By other rows"] == "0.49"
    assert cells["CIFAR-100", "Lottery ticket", "0.1"]["By other rows"] == "0.47"


def test_a_collapsed_seed_gives_back_mean_and_spread() -> None:
    usual, odd = discrepancies.collapsed_seed(83.3, 15.33)
    assert mean([usual, usual, odd]) == pytest.approx(83.3)
    assert stdev([usual, usual, odd]) == pytest.approx(15.33)
    assert odd < usual


def test_wall_times_are_flops_and_the_remarks_say_so() -> None:
    assert discrepancies.wall_times_that_are_flops() == (12, 12)
    assert "Of the 12 wall times" in discrepancies.remarks()
    assert "83.3 ± 15.33" in discrepancies.remarks()


@pytest.fixture
def frame(tmp_path, monkeypatch) -> pd.DataFrame:
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    made = [record(80.0, seed=0), record(82.0, seed=1), record(90.0, seed=2), record(50.0, density=0.2)]
    made += [record(81.0, seed=0, preset="google"), record(84.0, seed=1, preset="google")]
    made += [record(70.0, seed=0, preset="google", alpha=0.5), record(60.0, method="pruning")]
    made += [record(61.0, method="pruning", warmup_share=0.0)]
    for run in made:
        records.save(run, tmp_path / "results")
    return runs.load()


def test_pairs_are_alike_in_all_else(frame: pd.DataFrame) -> None:
    (row,) = discrepancies.paired(frame, "preset", "repro2021", "google").to_dict("records")
    assert (row["first"], row["second"], row["change"], row["seeds"]) == (81.0, 82.5, 1.5, 2)
    assert row["std"] == pytest.approx(stdev([1.0, 2.0]))
    pairs = discrepancies.paired(frame, "preset", "repro2021", "google")
    table = discrepancies.readable_pairs(frame, pairs, "one", "other")
    one, other = table.iloc[0][["one, %", "other, %"]]
    assert table.iloc[0].drop(["one, %", "other, %"]).tolist() == [
        "RigL (ERK), density 0.1", "LeNet-300-100", "+1.50 ± 0.71", 2,
    ]  # fmt: skip
    assert (">81.00<" in one, ">82.50<" in other) == (True, True)
    for cell, preset in ((one, "repro2021"), (other, "google")):
        names = {record(seed=seed, preset=preset).name for seed in (0, 1)}
        assert set(re.findall(r"fashion-mnist/(.*?)\.json", cell)) == names


def test_pairs_of_variants(frame: pd.DataFrame) -> None:
    (row,) = discrepancies.paired(frame, "variant", "warmup_share=0", "").to_dict("records")
    assert (row["method"], row["distribution"], row["change"]) == ("pruning", "-", -1.0)
    assert discrepancies.readable_pairs(frame, pd.DataFrame(), "a", "b").empty


def test_counted_against_the_closed_form(project) -> None:
    def cost(counted: float | None, **knobs):
        run = record(**knobs)
        flops = run.flops.model_copy(update={"counted": counted, "training": 3 * 532_400 * 0.103})
        return run.model_copy(update={"flops": flops})

    assert discrepancies.counted_against_closed_form(runs.load()).empty
    dense = 3 * 532_400
    made = [
        cost(0.1 * dense),
        cost(0.102 * dense, seed=1),
        cost(None, seed=2),
        cost(0.1 * dense, method="set"),
    ]
    for run in made:
        records.save(run, project / "results")
    (row,) = discrepancies.counted_against_closed_form(runs.load()).to_dict("records")
    assert (row["Setting"], row["Closed form, x"]) == ("RigL (ERK), density 0.1", "0.1030")
    assert ">0.1010<" in row["Counted, x"]
    assert set(re.findall(r"fashion-mnist/(.*?)\.json", row["Counted, x"])) == {
        each.name for each in made[:2]
    }
    assert row["Closed form is above by"] == "2.0 %"


def test_figures_that_are_printed_twice_are_told() -> None:
    assert "Static at density 0.2, 2x, as 91.20 ± 0.16, the numbers of 1x" in discrepancies.remarks()


@pytest.fixture
def saved(project):
    """The frame of runs at density 0.1: accuracies of each step by seed."""

    def save(**accuracies: tuple[float, ...]):
        for name, values in accuracies.items():
            method, _, masks = name.partition("_")
            for seed, value in enumerate(values):
                distribution = {"distribution": masks} if masks else {}
                if masks == "given":
                    pruned = record(method="pruning", density=0.1, seed=seed)
                    distribution = {"distribution": pruned.name}
                run = record_given(value, method=method, density=0.1, seed=seed, **distribution)
                records.save(run, project / "results")
        return runs.load()

    return save


def record_given(accuracy: float, **knobs) -> records.Record:
    """A record whose densities may be those of another run, which `sample.record` cannot look up."""
    if "_" not in knobs.get("distribution", ""):
        return record(accuracy, **knobs)
    plain = record(accuracy, **{**knobs, "distribution": "erk"})
    config = plain.config.model_copy(update={"distribution": knobs["distribution"], "density": None})
    parts = {"config": config, "name": config.name, "active_parameters": 26_661}
    return plain.model_copy(update=parts)


STEPS = {
    "static_erk": (80.0, 80.2, 99.0),
    "static_given": (82.0, 82.2),
    "rigl_erk": (84.0, 84.2),
    "rigl_given": (85.0, 85.2),
    "lottery": (86.0, 86.2),
    "pruning": (87.0, 87.2),
}


def test_steps_over_the_seeds_that_all_have(saved) -> None:
    table = discrepancies.steps_table(saved(**STEPS), discrepancies.TICKET)
    shown = [re.search(">([^<]*)</button>", cell)[1] for cell in table["Accuracy, %"]]
    assert shown == [f"{mean}.10 ± 0.14" for mean in (80, 82, 84, 85, 86, 87)]
    assert set(table["Seeds"]) == {2}
    assert table["Masks"].tolist()[1] == "as Pruning"


def test_differences_follow_the_runs(saved) -> None:
    text = discrepancies.steps_verdict(saved(**STEPS), discrepancies.TICKET)
    found = re.findall(r"([-+]\d+\.\d\d) points, 2 seeds, 95 % interval .*?: (better|worse|not told)", text)
    assert [float(value) for value, _ in found] == [2.0, 1.0, 1.0, 2.0]
    assert {word for _, word in found} == {"better"}


def test_what_is_missing_leaves_nothing_to_say(saved) -> None:
    frame = saved(**{name: values for name, values in STEPS.items() if name != "rigl_given"})
    assert discrepancies.steps_table(frame, discrepancies.TICKET).empty
    assert discrepancies.steps_verdict(frame, discrepancies.TICKET) == "Too few runs yet to say."


def test_the_reports_figures_are_those_of_its_tables() -> None:
    assert re.findall(r"[\d.]+(?= %)", discrepancies.steps_reported()) == [
        *("90.4", "92.6", "92.4", "89.1", "90.3"),
        *("73.6", "73.1", "72.6", "69.7", "67.6"),
    ]


def test_runs_given_densities_are_a_setting_of_their_own(saved) -> None:
    frame = saved(**STEPS)
    given = frame[frame["distribution"] == "as pruning"]
    assert len(given) == 4
    assert set(given["variant"]) == {"densities given"}
