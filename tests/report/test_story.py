"""What the book says first follows the records."""

import json
import re

import pytest

from book.report import runs, story, verdicts
from report.sample import CONV, record
from rigl.training import records
from rigl.training.records import LayerRecord


def told(project, **methods):
    """Findings and records of a LeNet with these accuracies, and of the report."""
    for method, accuracies in methods.items():
        for seed, accuracy in enumerate(accuracies):
            records.save(record(accuracy, method=method.replace("_", "-"), seed=seed), project / "results")
    frame = runs.load(searched=True)
    return verdicts.load(frame), frame


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize(
    ("static", "lead", "group"),
    [
        (
            (80.0, 80.1, 80.2),
            "RigL beats a fixed mask (effects of +1.15 to +8.00 points);",
            "Holds in the report and on our fully connected network: RigL beats a fixed mask",
        ),
        (
            (90.0, 90.1, 90.2),
            "Whether RigL beats a fixed mask is open",
            "Holds in the report, not in our runs: RigL beats a fixed mask",
        ),
    ],
)
def test_what_came_out_follows_the_verdicts(project, static, lead, group) -> None:
    page = words(story.answers(*told(project, rigl=(88.0, 88.1, 88.2), static=static)))
    assert lead in page
    assert group in page
    assert "by 6 runs of our own, where" in page


def test_without_runs_nothing_came_out(project) -> None:
    assert "No claim has been tested here yet" in story.answers(*told(project))


def test_a_verdict_of_weak_evidence_is_not_told_as_one_of_strong(project) -> None:
    page = words(story.answers(*told(project, rigl=(88.0, 88.1, 88.2), static=(80.0, 80.1, 80.2))))
    assert "on our small convolutional network" not in page
    assert "on our fully connected network" in page


def test_the_central_finding_is_told_as_undecided_only_while_it_is(project) -> None:
    found, frame = told(project, rigl=(88.0, 88.1, 88.2), set=(88.0, 88.1, 88.3))
    assert "is undecided by our runs and by its own numbers" in story.surprises(found, frame)[0]
    found, frame = told(project, rigl=(88.0, 88.1, 88.2), set=(80.0, 80.1, 80.2))
    assert "is decided by 1 of 3 sources" in story.surprises(found, frame)[0]


@pytest.mark.parametrize(("small", "said"), [(87.8, True), (80.0, False)])
def test_a_small_dense_network_surprises_where_it_is_close(project, small, said) -> None:
    layers = [LayerRecord(name=x.name, shape=x.shape, density=[0.1, 0.1]) for x in CONV]
    for method, accuracy, ratio in (("rigl", 88.0, 0.15), ("small-dense", small, 0.1)):
        for seed in (0, 1):
            made = record(accuracy + seed / 10, method=method, seed=seed, model="wrn-10-1")
            cost = made.flops.model_copy(update={"train_ratio": ratio})
            records.save(made.model_copy(update={"layers": layers, "flops": cost}), project / "results")
    frame = runs.load(searched=True)
    page = " ".join(story.surprises(verdicts.load(frame), frame))
    assert ("for 67 % of its training FLOPs" in page) == said
    assert ("0.20 points behind RigL with ERK (RigL less small-dense [-0.10, +0.50]" in page) == said


def test_advice_follows_the_verdicts(project) -> None:
    found, _ = told(project, rigl=(88.0, 88.1, 88.2), set=(88.0, 88.1, 88.3))
    assert "RigL or SET, with ERK" in words(story.advice(found))
    found, _ = told(project, rigl=(88.0, 88.1, 88.2), set=(80.0, 80.1, 80.2))
    assert "RigL with ERK RigL beats a fixed mask" in words(story.advice(found))


def test_advice_on_speed_rests_on_measured_times(project) -> None:
    assert "in multiples of a dense one's" not in story.advice(told(project)[0])
    (folder := project / "results" / "bench").mkdir()
    what = "small-dense against dense, wall time of"
    times = {f"{what} training": {"median": 0.25}, f"{what} inference": {"median": 0.2}}
    made = {"device": "A chip", "precision": "float32", "images_per_second": {}, "ratios": times}
    (folder / "chip.json").write_text(json.dumps(made))
    assert "A chip, float32: Small-dense 0.25." in words(story.advice(told(project)[0]))
