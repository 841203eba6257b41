"""What of a mask counts: steps over the seeds that all have, and figures that follow the runs."""

import re

import pytest

from book.report import discrepancies, runs
from report.sample import record
from rigl.training import records


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
