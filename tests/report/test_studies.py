"""Tables, sentences and the plot of a study made by hand."""

import re

import pytest

from book.report import display, figures, runs, studies
from book.report.runs import Settings, Study, Trial
from rigl.campaign.studies import save
from rigl.training import records
from rigl.training.config import RunConfig
from tests.report.sample import record

CONFIG = RunConfig(protocol="laptop", dataset="fashion-mnist", density=0.05)
SETTINGS = Settings(
    config=CONFIG, seeds=(0, 1), alpha=(0.1, 0.6), delta_t=(50, 1000, 50), trials=3, sampler_seed=7
)


def trial(number, alpha, delta_t, value):
    tried = [config.name for config in SETTINGS.runs(alpha, delta_t)]
    state = "failed" if value is None else "complete"
    error = f"{tried[0]} diverged" if value is None else None
    return Trial(
        number=number, state=state, alpha=alpha, delta_t=delta_t, value=value, runs=tried, error=error
    )


def study(*trials):
    return Study(
        name=SETTINGS.name,
        settings=SETTINGS,
        sampler="TPESampler",
        optuna="5.0.0",
        commit=None,
        clean=None,
        trials=list(trials),
    )


FOUND = study(
    trial(0, 0.2, 50, 87.0), trial(1, 0.5, 150, None), trial(2, 0.4, 200, 88.5), trial(3, 0.3, 900, 88.5)
)


def frame(tmp_path, **accuracies):
    """Runs of the best trial (`best`) and of the reference, an accuracy a seed."""
    asked = {"best": SETTINGS.runs(0.4, 200), "reference": SETTINGS.reference()}
    for name, values in accuracies.items():
        for config, value in zip(asked[name], values, strict=False):
            knobs = {key: getattr(config, key) for key in ("density", "alpha", "delta_t", "seed")}
            records.save(record(value, **knobs), tmp_path)
    return records.frame(tmp_path)


def linked(cell):
    """The runs that a cell's links lead to, each under its own id."""
    found = re.findall(r'href="../results/fashion-mnist/(\S+)_(\w+)\.json">\2</a>', cell)
    known = {config.name: config for config in [*SETTINGS.runs(0.2, 50), *SETTINGS.reference()]}
    return [known["_".join(parts)] for parts in found]


def test_trials_are_rows_with_their_runs():
    table = studies.trials(FOUND)
    assert list(table["Trial"]) == ["0", "1", "2 (best)", "3"]
    assert list(table["Validation accuracy, %"]) == ["87.00", "failed", "88.50", "88.50"]
    assert linked(table["Runs"][0]) == SETTINGS.runs(0.2, 50)


def test_of_equal_values_the_first_is_best_and_without_trials_none_is():
    assert FOUND.best.number == 2
    assert study().best is None
    assert study(trial(0, 0.2, 50, None)).best is None


def test_the_best_stands_against_the_reference_by_their_runs(tmp_path):
    table = studies.against_reference(FOUND, frame(tmp_path, best=(88.0, 89.0), reference=(87.0,)))
    assert list(table["Setting"]) == ["best of 3", "reference"]
    assert list(table["Test accuracy, %"]) == ["88.50 ± 0.71", "87.00"]
    assert list(table["Seeds"]) == ["2 of 2", "1 of 2"]
    assert linked(table["Runs"][1]) == SETTINGS.reference()
    empty = studies.against_reference(study(), records.frame(tmp_path / "nothing"))
    assert list(empty["Test accuracy, %"]) == ["-"]


@pytest.mark.parametrize(
    ("best", "reference", "words"),
    [
        (
            (88.0, 88.1),
            (87.0, 87.1),
            "+1.00 points, 2 seeds, {} +0.70 to +1.30: better.",
        ),
        (
            (87.0, 87.1),
            (88.0, 88.1),
            "-1.00 points, 2 seeds, {} -1.30 to -0.70: worse.",
        ),
        (
            (88.0, 89.0),
            (87.0, 90.0),
            "+0.00 points, 2 seeds, {} -13.27 to +13.27: not told apart.",
        ),
        ((88.0, 89.0), (87.0,), "+1.00 points, on a single seed, which decides nothing."),
        ((88.0, 89.0), (), "no seed has both runs yet."),
        ((88.0, 89.0), (None, 88.0), "on a single seed"),
    ],
)
def test_the_verdict_follows_the_data(tmp_path, best, reference, words):
    text = studies.verdict(FOUND, frame(tmp_path, best=best, reference=reference))
    assert text.startswith("alpha = 0.400 and Delta-T = 200, the best of 3 trials, against alpha = 0.3 and")
    assert words.format("95 % interval") in text


def test_no_verdict_before_a_trial_is_complete(tmp_path):
    assert studies.verdict(study(), frame(tmp_path)) == "No trial is complete yet."


def test_the_space_shows_every_trial():
    fig = studies.space(FOUND)
    shown = {each.name: (list(each.x), list(each.y)) for each in fig.data}
    assert shown == {
        "trial": ([50, 200, 900], [0.2, 0.4, 0.3]),
        "failed": ([150], [0.5]),
        "best": ([200], [0.4]),
        "reference": ([100], [0.3]),
    }
    assert [each.name for each in studies.space(study()).data] == ["trial", "reference"]


def test_the_caption_names_protocol_seeds_and_sampler():
    text = studies.caption(FOUND)
    assert "protocol “laptop”" in text
    assert "mean over 2 seeds" in text
    assert "TPESampler of Optuna 5.0.0, seed 7" in text


def test_the_page_shows_every_study_and_its_trials_are_no_rows_of_the_results(tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(display, "emit", lambda output, **_: shown.append(output.get("text/html", "")))
    monkeypatch.setattr(figures, "show", lambda figure, text: shown.append(figure.to_json()))
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    folder = tmp_path / "results"
    studies.show()
    assert len(shown) == 1  # that there is none
    frame(folder, best=[89.0, 90.0], reference=[88.0, 88.5])
    assert len(runs.load()) == 4
    save(FOUND, folder)
    studies.show()
    page = "".join(shown[1:])
    assert "RigL (ERK) at density 0.05: LeNet-300-100 on Fashion-MNIST" in page
    assert all(config.run_id in page for config in SETTINGS.runs(0.4, 200))
    rows = runs.load()
    assert set(rows["name"]) == {config.name for config in SETTINGS.reference()}
    assert set(rows["variant"]) == {""}
