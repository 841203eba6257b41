"""What a campaign says of itself, and its commands."""

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rigl.campaign import notebook, status
from rigl.campaign.__main__ import main
from rigl.campaign.experiments import TABLES, Table
from rigl.campaign.request import request, seconds
from rigl.campaign.runner import Outcome
from rigl.training import checkpoints, records
from rigl.training import train as training
from rigl.training.config import ConfigError, RunConfig
from rigl.training.estimate import Estimate, epoch_flops
from rigl.training.records import RecordError

TINY = ("--protocol", "smoke", "--model", "lenet-300-100", "--densities", "0.2")


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Two tables that take a moment."""
    common = {"epochs": 1, "delta_t": 20}
    monkeypatch.setitem(TABLES, "tiny", Table("Small", ("dense", "static erk", "rigl erk"), common=common))
    monkeypatch.setitem(TABLES, "ticket", Table("A ticket", ("lottery", "dense"), common=common))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder that the command leaves for table "tiny" at seed 0, without what it printed."""
    results = tmp_path_factory.mktemp("made")
    patch = pytest.MonkeyPatch()
    common = {"epochs": 1, "delta_t": 20}
    patch.setitem(TABLES, "tiny", Table("Small", ("dense", "static erk", "rigl erk"), common=common))
    assert run(results, "tiny", "--seeds", "0") == 0
    patch.undo()
    return results


@pytest.fixture
def results(made, tmp_path):
    """A copy of that folder, to do anything to."""
    return shutil.copytree(made, tmp_path / "results")


def run(results, *arguments):
    return main(["run", *arguments, *TINY, "--results", str(results), "--device", "cpu"])


def asked(names="tiny", seeds="0"):
    return request(names, protocol="smoke", model="lenet-300-100", densities="0.2", seeds=seeds)


def test_a_command_that_is_done_and_one_with_more_seeds(results, capsys):
    assert run(results, "tiny", "--seeds", "0") == 0
    out = capsys.readouterr().out
    assert "3 runs: 3 finished" in out
    assert out.endswith("done: 3 of 3 runs\n")
    assert run(results, "tiny", "--seeds", "0,1", "--time-limit", "0.001s") == 3
    out = capsys.readouterr().out
    assert "6 runs: 3 finished, 3 left" in out
    assert "done: 3 of 6 runs\nleft: 3 (the time is up); no epoch fits into the time limit of 0.001 s" in out


def test_plan_says_what_is_done_and_what_is_left(results, capsys):
    line = ("plan", "tiny", "ticket", "--seeds", "0,1", *TINY, "--results", str(results), "--device", "cpu")
    assert main([*line, "--workers", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "10 runs: 3 finished, 7 left" in out
    done = {(words[0], words[3]): words[-4] for words in map(str.split, out[1:6])}
    assert done["tiny", "dense"] == done["ticket", "dense"] == "1/2"
    assert done["ticket", "lottery"] == "0/2"
    assert any(row.strip().startswith("for other rows") and " pruning " in row for row in out)
    assert any("with 2 workers" in row for row in out)
    assert any(row.startswith("based on 3 runs of lenet-300-100") for row in out)


def test_the_plan_adds_up(made):
    wanted = asked("tiny ticket", "0,1")
    states = status.look(wanted.runs(), made)
    table = status.plan_table(wanted, states, lambda _: Estimate(3600.0, 1, "the test"))
    assert list(table["Table"]) == [*["tiny"] * 3, *["ticket"] * 2, "for other rows"]
    assert list(table["Done"]) == ["1/2", "1/2", "1/2", "0/2", "1/2", "0/2"]
    assert list(table["Time left"]) == [*["60 min"] * 3, "2.0 h", "60 min", "2.0 h"]
    dense = asked().runs()[0]
    assert table["FLOPs left"][0] == f"{epoch_flops(dense):.1e}"
    lines = status.headline(states, lambda _: Estimate(3600.0, 1, "the test"))
    assert lines[0] == "10 runs: 3 finished, 7 left"
    assert lines[1].endswith("about 7.0 h")
    assert lines[2:] == ["based on the test"]
    assert status.headline(states, None)[1:] == [lines[1].partition(", about")[0]]
    assert list(table["Changed"][:3]) == ["epochs=1", "epochs=1", "delta_t=20, epochs=1"]


def test_status_names_what_is_on_begun_failed_and_left(results, capsys):
    line = ["status", "tiny", *TINY, "--results", str(results), "--seeds"]
    assert main([*line, "0"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["tiny", "3", "3", *"000000"]
    assert main([*line, "0,1"]) == 3
    capsys.readouterr()
    dense, static, rigl = asked(seeds="1").runs()
    longer = RunConfig(**{**dense.model_dump(), "epochs": 2})
    with pytest.raises(training.Interrupted):
        training.train(longer, device="cpu", results=results, stop=lambda done, _: done == 1)
    state = checkpoints.load(checkpoints.checkpoint_of(longer, results), longer, "cpu")
    checkpoints.save({**state, "name": dense.name}, checkpoints.checkpoint_of(dense, results))
    status.note_failure(static, results, "OSError: a reason")
    assert main([*line, "0,1"]) == 1
    with training.FileLock(checkpoints.lock_of(rigl, results)):
        assert main([*line, "1"]) == 1
    out = capsys.readouterr().out
    assert f"begun: {dense.name}, 1 of 1 epochs done" in out
    assert f"failed: {static.name}: OSError: a reason" in out
    assert f"running: {rigl.name}, 0 of 1 epochs done" in out


def test_verify_sets_damaged_files_aside(results, capsys):
    line = ["verify", "--results", str(results)]
    assert main(line) == 0
    assert "3 records are sound, 0 files were damaged" in capsys.readouterr().out
    dense, static, rigl = (records.path_of(each, results) for each in asked().runs())
    kept = records.save_masks(records.load_masks(asked().runs()[2], results), asked().runs()[2], results)
    kept.write_bytes(b"PK" + kept.read_bytes()[50:])
    changed = json.loads(static.read_text())
    changed["config"]["alpha"], changed["config"]["seed"] = 0.3, 5
    static.write_text(json.dumps(changed))
    dense.write_text(dense.read_text()[:500])
    elsewhere = results / "cifar10" / rigl.name
    elsewhere.parent.mkdir()
    shutil.copy(rigl, elsewhere)
    assert main(line) == 1
    out = capsys.readouterr().out
    assert "1 records are sound, 4 files were damaged" in out
    aside = results / ".damaged"
    for path, reason in (
        (dense, "not a valid record"),
        (static, "but its config's is"),
        (elsewhere, "belongs in the folder digits"),
        (kept, "not a valid file of masks"),
    ):
        (said,) = [row for row in out.splitlines() if row.startswith(str(path))]
        assert reason in said
        assert said.endswith(f"moved to {aside / path.relative_to(results)}")
        assert (aside / path.relative_to(results)).exists()
        assert not path.exists()
    assert main(line) == 0
    dense.write_text("again")
    assert main(line) == 1
    assert (aside / "digits" / f"{dense.name}.1").read_text() == "again"
    assert len(records.frame(results)) == 1  # what was set aside is no record


def test_verify_touches_no_file_but_records(results, capsys):
    """Also where somebody names the folder above that of the results."""
    before = sorted(results.parent.rglob("*"))
    (results / "published.json").write_text("{}")
    assert main(["verify", "--results", str(results.parent)]) == 0
    assert "0 records are sound, 0 files were damaged" in capsys.readouterr().out
    assert main(["verify", "--results", str(results)]) == 0
    assert sorted(results.parent.rglob("*")) == sorted([*before, results / "published.json"])


def test_export(results, tmp_path, capsys):
    line = ["export", *TINY, "--results", str(results), "--seeds", "0"]
    training.train(asked(seeds="3").runs()[0], device="cpu", results=results)
    target = tmp_path / "out" / "table.csv"
    assert main([*line, "tiny", "--output", str(target)]) == 0
    table = pd.read_csv(target)
    assert set(table["name"]) == {each.name for each in asked().runs()}
    assert {"alpha", "delta_t", "learning_rate", "test_accuracy", "wall_seconds"} <= set(table.columns)
    assert len(set(table.columns)) == len(table.columns)
    capsys.readouterr()
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 1 + 4  # without tables every record
    assert main([*line, "--output", "table.xlsx"]) == 2
    assert capsys.readouterr().err == "table.xlsx: the supported formats are .csv and .parquet\n"
    next(results.glob("digits/*.json")).write_text("")
    assert main(line) == 1
    assert "not a valid record" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", " =1"])
def test_no_exported_cell_is_a_formula(results, text, capsys):
    """The device is text of a record's own: somebody may hand in a record with any."""
    path = next(results.glob("digits/*.json"))
    fields = json.loads(path.read_text())
    fields["provenance"]["device"] = text
    path.write_text(json.dumps(fields))
    assert main(["export", "--results", str(results)]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert f"'{text}" in set(table["device"])
    assert text not in set(table["device"])
    assert table["test_accuracy"].dtype == float
    assert min(table["learning_rate"]) > 0


OPTIONS = {
    "plan": "protocol seeds densities dataset model workers results",
    "status": "seeds results",
    "export": "output results",
    "verify": "results",
    "run": "lanes engine cluster time-limit tracker workers what",
    "tune": "protocol dataset model method density distribution epochs trials seeds sampler-seed storage",
}
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(
    [
        "x" * 5000,
        "9" * 5000,
        "9" * 400 + "d",
        "0.1," * 2000,
        "wrn-10-" + "9" * 5000,
        "tcp://x:1x",
        "{}",
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=st.sampled_from([(c, f"--{o}") for c, names in OPTIONS.items() for o in names.split()]), text=texts
)
@example(case=("tune", "--storage"), text="tcp://x:1x")
@example(case=("export", "--output"), text="line\nbreak")
def test_whatever_an_option_says_an_error_is_one_line(case, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rigl.campaign.runner.run", lambda *_, **__: Outcome([], [], {}))
    command, option = case
    names = [] if command in ("verify", "tune") else ["table2", "--protocol", "smoke", "--seeds", "0"]
    study = ["--protocol", "smoke", "--density", "0.2", "--distribution", "erk", "--status"]
    with suppress(SystemExit):
        main([command, *names, *(study if command == "tune" else []), option, text])
    error = capsys.readouterr().err
    assert len(error.splitlines()) <= 1
    assert len(error) < 800


def test_export_to_parquet(made, tmp_path):
    pytest.importorskip("pyarrow")
    status.write(status.export(made), tmp_path / "table.parquet")
    back = pd.read_parquet(tmp_path / "table.parquet")
    assert list(back["name"]) == list(status.export(made)["name"])


def test_parquet_without_pyarrow_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(status, "find_spec", lambda name: None)
    assert main(["export", "--output", "x.parquet", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err == ("x.parquet: this needs pyarrow: pip install pyarrow, or write .csv\n")


def test_an_empty_folder_is_exported_as_an_empty_table(tmp_path):
    assert len(status.export(tmp_path)) == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plan tabel2", "table 'tabel2' is unknown (did you mean 'table2'?): choose from table1, "),
        ("plan table2 --protocol papr", "protocol='papr' is unknown"),
        ("plan table2 --dataset digits", "protocol='laptop' is not defined for dataset='digits'"),
        ("run table2 --seeds 0,x", "seeds '0,x' is not a list of numbers such as 0,1,2"),
        ("run table2 --seeds -1", "seed=-1 is not right"),
        ("run table2 --densities 10%", "densities '10%' is not a list of numbers such as 0.05,0.1"),
        ("run table2 --time-limit 9", "time limit '9' is invalid: use a format such as 90s, 9m or 1h30m"),
        ("run table2 --workers 0", "argument --workers: '0' must be a positive integer"),
        ("run table2 --device gpu", "device='gpu' is not available here"),
        ("run table2 --protocl paper", "unrecognized arguments: --protocl paper"),
        ("run", "the following arguments are required: TABLE"),
        ("", "the following arguments are required: COMMAND"),
        ("go", "invalid choice: 'go'"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(line, words, capsys):
    try:
        code = main(line.split())
    except SystemExit as error:
        code = error.code
    err = capsys.readouterr().err
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_as_a_program(root, tmp_path):
    """Its exit status is the process's, and what is wrong is said before torch is imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rigl.campaign", "run", "table6"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "table 'table6' is unknown" in done.stderr
    assert " torch\n" not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("9m", 540), ("1h30m", 5400), ("0.5h", 1800), ("2d", 172_800)]
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "9", "m", "9 m", "0s", "9m!", "-9m"])
def test_what_is_no_time(text):
    with pytest.raises(ConfigError, match="is invalid: use a format"):
        seconds(text)


def test_all_tables_at_once():
    assert request("all", protocol="paper", seeds="0").tables == tuple(TABLES)
    assert asked("tiny, ticket").tables == ("tiny", "ticket")


def test_workers_side_by_side(monkeypatch):
    monkeypatch.setattr(status.torch, "get_num_threads", lambda: 4)
    assert status.together(Estimate(1.0, 1, ""), 3, "cpu") == 3
    assert status.together(Estimate(1.0, 1, ""), 8, "cpu") == 4
    assert status.together(Estimate(1.0, 4, ""), 8, "cpu") == 1


def test_damaged_masks_are_a_damaged_run(results):
    ticket = asked("ticket").runs()[1]
    assert ticket.method == "pruning"
    training.train(ticket, device="cpu", results=results)
    (kept,) = results.glob("*masks/digits/pruning*.npz")
    kept.write_bytes(b"")
    (state, *_) = [each for each in status.look(asked("ticket").runs(), results) if each.config == ticket]
    assert state.status == "damaged"
    assert kept.name in state.error
    with pytest.raises(RecordError):
        records.load_masks(ticket, results)


def test_the_notebooks_parameters(made, monkeypatch):
    def configure(**given):
        return notebook.configure({**given, "_hidden": 1, "known": 2}, {"known"})

    monkeypatch.setattr("rigl.training.project.root", lambda: made.parent)
    found = configure(
        tables="tiny", protocol="smoke", model="lenet-300-100", seeds=0, densities=0.2, device="cpu",
        results=made.name, time_limit="9m", workers=2, dataset=None,
    )  # fmt: skip
    assert found.request == asked()
    assert (found.results, found.workers, found.time_limit, found.run) == (made, 2, 540, False)
    assert found.train() is None
    assert list(found.plan()["Done"]) == ["1/1"] * 3
    assert list(found.status()["finished"]) == [3]
    assert found.summary() == "3 runs: 3 finished"
    for wrong, words in (
        ({"tabels": "tiny"}, r"unknown parameter 'tabels' \(did you mean 'tables'\?\)"),
        ({"tables": "tinny"}, r"table 'tinny' is unknown \(did you mean 'tiny'\?\)"),
        ({"run": "yes"}, "run='yes' is not right: it should be True or False"),
        ({"workers": 0}, "workers=0 is not right: it should be a whole number from 1 on"),
        ({"time_limit": 9}, "time limit '9' is invalid"),
        ({"device": "gpu"}, "device='gpu' is not available here"),
    ):
        with pytest.raises(ConfigError, match=words):
            configure(**{"tables": "tiny", "protocol": "smoke", **wrong})
