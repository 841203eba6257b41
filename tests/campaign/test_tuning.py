"""Studies with real Optuna, SQLite and training, small ones, and whatever may happen to them."""

import os
import shutil
import signal
import sys
import time

import optuna
import pytest
from campaigns import holder, meanwhile, wait_for
from forked import forked
from optuna.distributions import FloatDistribution, IntDistribution

from rigl.campaign import notebook, studies, tuning
from rigl.campaign.__main__ import main
from rigl.campaign.studies import request, settings
from rigl.campaign.tuning import Sampler, StoreError, begin
from rigl.training import records
from rigl.training import train as training
from rigl.training.config import ConfigError, RunConfig

SMALL = {"model": "lenet-300-100", "density": 0.2, "epochs": 2}


def small(trials=3, seeds=(0,), **knobs):
    return settings(RunConfig(**{**SMALL, **knobs}), trials=trials, seeds=seeds)


def run(asked, results, **options):
    return tuning.run(asked, tuning.Options(results=str(results), device="cpu", **options))


def trained(results):
    """When each record was written."""
    return {path.stem: path.stat().st_mtime_ns for path in results.glob("digits/*.json")}


def tried(study):
    return [(trial.number, trial.alpha, trial.delta_t, trial.value) for trial in study.trials]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of three trials, two seeds each, that was done in one go."""
    folder = tmp_path_factory.mktemp("done")
    outcome = run(small(seeds=(0, 1)), folder)
    assert outcome.status == 0
    return folder, outcome.study


def test_a_study_is_what_was_asked_and_its_runs_are_ordinary_records(done, tmp_path):
    folder, study = done
    asked = study.settings
    assert studies.load(studies.path_of(asked, folder)) == study
    assert [trial.number for trial in study.complete] == [0, 1, 2]
    expected = [config.name for config in asked.reference()]
    for trial in study.trials:
        assert 0.1 <= trial.alpha <= 0.6
        assert trial.delta_t in range(50, 1001, 50)
        configs = asked.runs(trial.alpha, trial.delta_t)
        assert trial.runs == [config.name for config in configs]
        found = [records.load(records.path_of(config, folder)) for config in configs]
        assert trial.value == pytest.approx(sum(r.validation_accuracy for r in found) / 2)
        expected += trial.runs
    assert sorted(trained(folder)) == sorted(expected)
    assert study.best.value == max(trial.value for trial in study.trials)
    one = asked.runs(study.trials[0].alpha, study.trials[0].delta_t)[0]
    alone = training.train(one, device="cpu", results=tmp_path)
    assert records.load(records.path_of(one, folder)).state_sha256 == alone.state_sha256


def test_knobs_are_drawn_one_by_one_as_in_the_report(done):
    """Optuna 5 would fit alpha and Delta-T together; the version that the report used did not."""
    space = done[1].settings
    assert done[1].sampler == "TPESampler(multivariate=False)"
    study = optuna.create_study(sampler=Sampler(0))
    for number in range(12):
        study.add_trial(
            optuna.create_trial(
                value=float(number),
                params={"alpha": 0.1 + number / 50, "delta_t": 50 + 50 * number},
                distributions={
                    "alpha": FloatDistribution(*space.alpha),
                    "delta_t": IntDistribution(*space.delta_t[:2], step=space.delta_t[2]),
                },
            )
        )
    trial = study.ask()
    frozen = study.trials[trial.number]
    assert study.sampler.infer_relative_search_space(study, frozen) == {}


@pytest.mark.parametrize("drawn", [True, False])
def test_no_point_is_drawn_twice_where_a_process_dies(drawn):
    """A trial that began while another's process was dead, and one between its failure and its repetition."""
    alone = optuna.create_study(sampler=Sampler(0))
    expected = [point(alone.ask()) for _ in range(4)]
    study = optuna.create_study(sampler=Sampler(0))
    points, dies = [point(study.ask())], study.ask()
    if drawn:
        points.append(point(dies))
    points.append(point(study.ask()))
    study.tell(dies, state=optuna.trial.TrialState.FAIL)
    points.append(point(study.ask()))
    if drawn:
        study.enqueue_trial(dies.params)
        assert point(study.ask()) == points[1]
    else:
        points.append(point(study.ask()))
    assert sorted(points) == sorted(expected)


def point(trial):
    return trial.suggest_float("alpha", 0.1, 0.6), trial.suggest_int("delta_t", 50, 1000, step=50)


def test_the_same_command_trains_nothing_again_and_more_trials_go_on(done, tmp_path):
    folder, study = done
    again = shutil.copytree(folder, tmp_path / "again")
    before = trained(again)
    assert run(study.settings, again).study == study
    assert trained(again) == before
    longer = run(small(trials=4, seeds=(0, 1)), again)
    assert longer.study.name == study.name
    assert tried(longer.study)[:3] == tried(study)
    assert len(longer.study.complete) == 4
    assert len(trained(again)) == len(before) + 2
    assert trained(again).items() >= before.items()


def test_a_study_is_reproducible_and_its_file_and_records_are_enough(done, tmp_path):
    """Where the database is not there, such as in a clone, nothing is trained again."""
    folder, study = done
    ignored = shutil.ignore_patterns(".*")
    clone = shutil.copytree(folder, tmp_path / "clone", ignore=ignored)
    before = trained(clone)
    assert run(study.settings, clone).study == study
    (bare := shutil.copytree(folder, tmp_path / "bare", ignore=ignored)).joinpath("studies").rename(
        tmp_path / "aside"
    )
    assert tried(run(study.settings, bare).study) == tried(study)
    assert trained(clone) == trained(bare) == before
    other = settings(study.settings.config, seeds=(0, 1), trials=3, sampler_seed=1)
    assert other.name != study.name


def test_a_trial_that_diverged_failed_and_the_study_goes_on(done, tmp_path):
    folder, study = done
    results = shutil.copytree(folder, tmp_path / "results", ignore=shutil.ignore_patterns(".*", "studies"))
    middle = study.trials[1]
    bad = records.path_of(study.settings.runs(middle.alpha, middle.delta_t)[1], results)
    nothing = {"status": "diverged", "test_accuracy": None, "validation_accuracy": None}
    records.save(records.load(bad).model_copy(update=nothing), results)
    outcome = run(study.settings, results)
    assert outcome.status == 0
    assert [trial.state for trial in outcome.study.trials] == ["complete", "failed", "complete", "complete"]
    failed = outcome.study.trials[1]
    assert (failed.value, failed.error) == (None, f"{middle.runs[1]} diverged")
    assert (failed.alpha, failed.delta_t) == (middle.alpha, middle.delta_t)
    assert "3 of 3 trials (1 diverged)" in outcome.lines()[0]


def test_a_study_of_which_all_trials_diverge_is_given_up(tmp_path, capsys):
    outcome = run(small(trials=2, learning_rate=1e30), tmp_path)
    assert outcome.status == 1
    assert [trial.state for trial in outcome.study.trials] == ["failed", "failed"]
    assert outcome.study.best is None
    assert "given up: 2 trials diverged" in outcome.lines()
    assert "FAILED" in capsys.readouterr().out


def test_a_run_that_cannot_be_leaves_its_trial_to_be_tried_again(tmp_path):
    """What is no fault of alpha and delta_t must not count as a bad value of them."""
    asked = small(density=None, distribution="static-erk_d0.2_lenet-300-100_smoke_s0_00000000")
    for _ in range(2):
        outcome = run(asked, tmp_path)
        assert outcome.status == 1
        assert outcome.errors[0].startswith("trial ")
        assert "no such record" in outcome.errors[0]
        assert (outcome.counts, outcome.study.trials) == (tuning.Counts(), [])


def test_after_kill_9_the_same_trial_is_tried_again(tmp_path):
    asked = small(trials=2, epochs=8)
    process = forked(tuning.run, asked, tuning.Options(results=str(tmp_path), device="cpu"))
    wait_for(lambda: list(tmp_path.glob(".checkpoints/*.pt")))
    process.kill()
    process.join()
    study = begin(asked, tmp_path)
    assert tuning.counts(study) == tuning.Counts(running=1)  # nobody knows yet
    begun = study.trials[0].params
    outcome = run(asked, tmp_path)
    assert (outcome.status, outcome.counts) == (0, tuning.Counts(complete=2))
    (first,) = [t for t in outcome.study.trials if {"alpha": t.alpha, "delta_t": t.delta_t} == begun]
    record = records.load(tmp_path / "digits" / f"{first.runs[0]}.json")
    assert record.provenance.resumed == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_stop_it_ends_after_an_epoch_and_goes_on_with_the_same_trial(tmp_path, workers):
    asked = small(trials=1, epochs=20)

    def tell():
        wait_for(lambda: list(tmp_path.glob(".checkpoints/*.pt")))
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(tell):
        outcome = run(asked, tmp_path, workers=workers)
    assert (outcome.status, outcome.stopped, outcome.errors) == (3, True, [])
    assert outcome.counts == tuning.Counts()
    outcome = run(asked, tmp_path)
    assert (outcome.status, outcome.counts) == (0, tuning.Counts(complete=1))
    record = records.load(tmp_path / "digits" / f"{outcome.study.trials[0].runs[0]}.json")
    assert record.provenance.resumed == 1


def test_a_study_that_was_stopped_goes_on_as_it_would_have(tmp_path):
    asked = small(trials=3, epochs=8)

    def tell():
        wait_for(lambda: list(tmp_path.glob("digits/*.json")) and list(tmp_path.glob(".checkpoints/*.pt")))
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(tell):
        outcome = run(asked, tmp_path)
    assert (outcome.status, outcome.counts) == (3, tuning.Counts(complete=1))
    assert run(asked, tmp_path).status == 0
    stopped = studies.load(studies.path_of(asked, tmp_path))
    shutil.rmtree(tmp_path / ".studies")
    studies.path_of(asked, tmp_path).unlink()
    assert tried(run(asked, tmp_path).study) == tried(stopped)


def test_two_workers_share_a_study_and_one_is_killed(tmp_path):
    asked = small(trials=4, epochs=6)

    def at_work():
        locks = [path.stem for path in tmp_path.glob(".checkpoints/*.lock")]
        runs = [run for run in map(Named, locks) if holder(run, tmp_path)]
        return len(runs) == 2 and holder(runs[1], tmp_path)

    with meanwhile(lambda: os.kill(wait_for(at_work), signal.SIGKILL)):
        outcome = run(asked, tmp_path, workers=2)
    assert outcome.status == 0, outcome.lines()
    assert outcome.counts == tuning.Counts(complete=4)
    assert len({(trial.alpha, trial.delta_t) for trial in outcome.study.trials}) == 4
    assert len(list(records.records(tmp_path))) == 5


class Named:
    """A run of which only the name is known."""

    def __init__(self, name):
        self.name = name


def test_time_that_is_up_leaves_the_rest(tmp_path):
    asked = small()
    outcome = run(asked, tmp_path, deadline=time.time())
    assert (outcome.status, outcome.stopped, outcome.counts.complete) == (3, True, 0)
    assert outcome.lines()[-1] == "some are left: no epoch fits into the time limit: give a longer one"


def test_it_ends_in_mid_study_when_time_is_up(done, tmp_path):
    again = shutil.copytree(done[0], tmp_path / "again")
    outcome = run(small(trials=1000, seeds=(0, 1)), again, deadline=time.time() + 6)
    assert (outcome.status, outcome.stopped, outcome.errors) == (3, True, [])
    assert (outcome.counts.failed, outcome.counts.running) == (0, 0)
    assert outcome.lines()[-1] == "some are left: rerun the same command to resume"


def test_a_study_belongs_to_one_folder_of_results(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    asked = small()
    begin(asked, tmp_path / "one", url)
    begin(asked, tmp_path / "one", url)
    with pytest.raises(StoreError, match="was started with another results folder"):
        begin(asked, tmp_path / "two", url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "storage nonsense cannot be used"),
        ("foo://me:secret@host/x", r"storage foo://me:\*\*\*@host/x cannot be used"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line(tmp_path, url, words):
    with pytest.raises(StoreError, match=words) as caught:
        begin(small(), tmp_path, url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--density ten", "density 'ten' is not a list of numbers"),
        ("--distribution erc", "distribution='erc' is unknown"),
        ("--method dense", "method='dense' does not use both alpha and delta_t"),
        ("--method pruning", "method='pruning' does not use both alpha and delta_t"),
        ("--method rigle", "method='rigle' is unknown"),
        ("--protocol papr", "protocol='papr' is unknown"),
        ("--seeds 0,a", "seeds '0,a' is not a list of numbers"),
        ("--sampler-seed -1", "sampler_seed=-1 is not right"),
        ("--time-limit soon", "time limit 'soon' is invalid"),
        ("--device gpu", "device='gpu' is not available here"),
        ("--tracker tensorbord", "tracker='tensorbord' is unknown (did you mean 'tensorboard'?)"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(tmp_path, capsys, arguments, words):
    common = ["tune", "--protocol", "smoke", "--results", str(tmp_path / "results")]
    assert main([*common, *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(words)
    assert (out, err.count("\n")) == ("", 1)
    assert not (tmp_path / "results").exists()


def test_without_optuna_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune"]) == 2
    assert capsys.readouterr().err == 'tuning needs optuna: pip install -e ".[campaign]"\n'


def test_the_notebook_needs_optuna_only_when_it_starts(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"^tuning needs optuna: pip install -e \"\.\[campaign\]\"$"):
        notebook.configure_tuning({}, set())


def test_the_commands_tell_by_their_exit_status(done, tmp_path, capsys):
    folder, study = done
    results = shutil.copytree(folder, tmp_path / "results")
    asked = ["--protocol", "smoke", "--model", "lenet-300-100", "--epochs", "2", "--density", "0.2"]
    asked += ["--seeds", "0,1", "--trials", "3", "--results", str(results)]
    assert main(["tune", "--status", *asked, "--distribution", "erk"]) == 0
    assert study.name in capsys.readouterr().out
    assert main(["tune", *asked, "--distribution", "erk", "--device", "cpu"]) == 0
    assert "done: 3 of 3 trials (0 diverged), 2 of 2 reference runs" in capsys.readouterr().out
    assert main(["tune", "--status", *asked]) == 3  # and uniform masks
    assert main(["tune", *asked, "--time-limit", "0.001s"]) == 3
    shutil.rmtree(results / ".studies")  # the exported file tells too
    assert main(["tune", "--status", *asked, "--distribution", "erk"]) == 0
    assert not (results / ".studies").exists()


def test_the_reports_studies_are_the_default():
    asked = request(protocol="paper")
    assert {(s.config.density, s.config.distribution) for s in asked} == {
        (density, masks) for density in (0.1, 0.2, 0.5) for masks in ("uniform", "erk")
    }
    assert {(s.alpha, s.delta_t, s.trials, s.seeds) for s in asked} == {
        ((0.1, 0.6), (50, 1000, 50), 15, (0, 1, 2))
    }
    assert {(s.config.alpha, s.config.delta_t, s.config.dataset) for s in asked} == {(0.3, 100, "cifar10")}


def test_settings_refuse_what_cannot_be_judged():
    with pytest.raises(ConfigError, match="validation=0"):
        small(validation=0)
    with pytest.raises(ConfigError, match="seeds"):
        small(seeds=())
    with pytest.raises(ConfigError, match="trials=0"):
        small(trials=0)


def test_a_file_that_is_no_study_is_named(done, tmp_path):
    folder, study = done
    path = tmp_path / f"{study.name}.json"
    path.write_text("{}")
    with pytest.raises(records.RecordError, match=r"not a valid study"):
        studies.load(path)
    shutil.copy(studies.path_of(study.settings, folder), other := tmp_path / "other.json")
    with pytest.raises(records.RecordError, match="contains the study"):
        studies.load(other)


def test_records_and_verify_leave_studies_alone(done):
    from rigl.campaign import status

    folder, study = done
    assert len(records.frame(folder)) == 8
    assert status.verify(folder) == (8, [])
    assert list(studies.studies(folder)) == [study]
