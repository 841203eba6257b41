"""Campaigns on this machine, alone in a process and as Dask's tasks, and whatever may happen to them."""

import os
import re
import resource
import signal
import sys
import threading
import time
from collections import Counter

import pytest
from campaigns import config, holder, meanwhile, members, mid_run, wait_for
from forked import forked

from rigl.campaign import runner, status
from rigl.campaign.__main__ import main
from rigl.training import checkpoints, records
from rigl.training import train as training
from rigl.training.config import ConfigError
from rigl.training.estimate import Estimate
from rigl.training.records import WriteError
from rigl.training.train import Options

both = pytest.mark.parametrize("workers", [1, 2])
# An epoch of it takes longer than the time limits below.
ENDLESS = {"model": "wrn-40-4", "epochs": 50}


def campaign(configs, results, **options):
    return runner.run(configs, results=results, device="cpu", **options)


def status_of(configs, results):
    return {state.config.name: state.status for state in status.look(configs, results)}


def record_of(run, results):
    return records.load(records.path_of(run, results))


def nothing_half_written(results):
    assert not list(results.rglob("*.part"))
    for path in results.glob("digits/*.json"):
        records.load(path)


@both
def test_all_runs_are_done_in_order_and_none_twice(tmp_path, capsys, workers):
    """With a run that diverges, one that cannot be, and those that start from them."""
    good = [config(seed=0), config("lottery"), config(seed=1)]
    bad = [
        config("lottery", learning_rate=1e30),  # its source diverges
        config("lottery", epochs=2, delta_t=500),  # its source has no update
    ]
    outcome = campaign([*good, *bad], tmp_path, workers=workers)
    assert outcome.status == 1
    assert set(outcome.done) == {each.name for each in (*good, good[1].source, bad[0].source)}
    assert outcome.left == []
    assert outcome.failed.keys() == {bad[0].name, bad[1].name, bad[1].source.name}
    assert "which diverged" in outcome.failed[bad[0].name]
    assert "leaves pruning no update" in outcome.failed[bad[1].source.name]
    assert outcome.failed[bad[1].name] == f"needs {bad[1].source.name}, which failed"
    assert [line for line in outcome.lines() if bad[0].name in line]
    said = capsys.readouterr().out
    assert all(f" {name}" in said for name in (*outcome.done, *outcome.failed))
    alone = training.train(good[0], device="cpu", results=tmp_path / "alone")
    assert record_of(good[0], tmp_path).state_sha256 == alone.state_sha256
    states = status_of([*good, *bad], tmp_path)
    assert Counter(states.values()) == {"finished": 3, "failed": 2}

    # The same command again: nothing is trained but what failed.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("digits/*.json")}
    again = campaign([*good, *bad], tmp_path, workers=workers)
    assert (set(again.done), again.failed) == (set(outcome.done), outcome.failed)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("digits/*.json")} == before
    nothing_half_written(tmp_path)


def test_a_worker_killed_in_mid_run_is_replaced_and_the_run_resumes(tmp_path, capsys):
    long, other = config(epochs=20), config("static")
    with meanwhile(lambda: os.kill(mid_run(long, tmp_path), signal.SIGKILL)):
        outcome = campaign([long, other], tmp_path, workers=2)
    assert outcome.status == 0
    assert record_of(long, tmp_path).provenance.resumed == 1
    assert f"the worker of {long.name} died: its run resumes after epoch" in capsys.readouterr().out
    alone = training.train(long, device="cpu", results=tmp_path / "alone")
    assert record_of(long, tmp_path).state_sha256 == alone.state_sha256
    nothing_half_written(tmp_path)


def test_two_runners_share_a_folder_and_one_is_killed(tmp_path, capsys):
    """The killed one's run resumes in the other, and its workers do not outlive it."""
    long, *short = configs = [
        config(epochs=20),
        *(config("static", epochs=2, seed=seed) for seed in range(6)),
    ]
    other = forked(campaign, configs, tmp_path, workers=2)
    orphan = mid_run(long, tmp_path)
    os.kill(orphan, signal.SIGSTOP)  # it holds its run, whatever the other runner does
    said = []

    def waits():
        said.append(capsys.readouterr().out)
        return "waiting for runs that other processes train" in "".join(said)

    def kill():
        wait_for(lambda: all(records.path_of(each, tmp_path).exists() for each in short))
        wait_for(waits)
        other.kill()
        os.kill(orphan, signal.SIGCONT)

    with meanwhile(kill):
        outcome = campaign(configs, tmp_path)
    other.join()
    assert outcome.status == 0
    assert len(list(records.records(tmp_path))) == len(configs)
    assert record_of(long, tmp_path).provenance.resumed == 1
    assert {record_of(each, tmp_path).provenance.resumed for each in short} == {0}
    wait_for(lambda: not members(other.pid))
    nothing_half_written(tmp_path)


@both
def test_ctrl_c_stops_after_the_epoch_and_the_same_command_resumes(tmp_path, workers):
    configs = [config(epochs=20), config("static")]

    def interrupt():
        mid_run(configs[0], tmp_path)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with meanwhile(interrupt):
        outcome = campaign([configs[0]] * workers + configs[1:], tmp_path, workers=workers)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (outcome.status, outcome.reason) == (3, "interrupted")
    assert configs[0].name in outcome.left
    (state, _) = status.look(configs, tmp_path)
    assert (state.status, state.done) == ("begun", False)
    assert state.epochs > 0
    nothing_half_written(tmp_path)
    assert campaign(configs, tmp_path, workers=workers).status == 0
    assert record_of(configs[0], tmp_path).provenance.resumed == 1


def command(arguments, out, errors):
    """``python -m rigl.campaign`` with these arguments, in this process."""
    for number, path in ((1, out), (2, errors)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.exit(main([str(argument) for argument in arguments]))


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_in_a_terminal_reaches_every_process(tmp_path, signals):
    """Only the runner heeds it, and nothing is left behind; a second one ends it at once."""
    arguments = ["run", "table2", "--protocol", "smoke", "--seeds", "0", "--densities", "0.2"]
    arguments += ["--workers", "2", "--device", "cpu", "--results", tmp_path]
    if signals == 2:
        arguments += ["--model", "wrn-40-4"]
    out, errors = tmp_path / "out.txt", tmp_path / "errors.txt"
    process = forked(command, arguments, out, errors)
    if signals == 2:  # in the middle of an epoch, which is a long one
        wait_for(lambda: len(list(tmp_path.rglob("*.lock"))) >= 2)
        time.sleep(2)
    else:
        wait_for(lambda: list(tmp_path.rglob("*.pt")))
    for _ in range(signals):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
    process.join(120)
    assert process.exitcode == 3, errors.read_text()
    assert "stopping after the current epochs" in out.read_text()
    assert "(interrupted); rerun the same command to resume" in out.read_text()
    assert "Traceback" not in errors.read_text()
    wait_for(lambda: not members(process.pid))
    nothing_half_written(tmp_path)


@both
def test_at_the_time_limit_the_rest_is_left(tmp_path, workers):
    """Also in the middle of an epoch that nobody could foresee."""
    configs = [config("dense", **ENDLESS), config("dense", **ENDLESS, seed=1), config()]
    limit = 4 if workers == 1 else 12  # other processes take seconds to start
    outcome = campaign(configs, tmp_path, workers=workers, time_limit=limit)
    assert (outcome.status, outcome.reason) == (3, "the time is up")
    assert set(outcome.left) == {each.name for each in configs}
    advice = (
        rf"no epoch fits into the time limit of {limit} s, of which starting up took \d+ s: give a longer one"
    )
    assert re.fullmatch(rf"left: 3 \(the time is up\); {advice}", outcome.lines()[1])
    wait_for(lambda: not any(status.running(each, tmp_path) for each in configs))
    nothing_half_written(tmp_path)


@both
def test_a_run_whose_first_epoch_would_come_too_late_is_not_begun(tmp_path, workers, monkeypatch):
    monkeypatch.setattr(runner, "PACES", {})
    runs = [config(), config(seed=1)]
    never = lambda _: Estimate(1e6, 1, "the test")  # noqa: E731
    outcome = campaign(runs, tmp_path, time_limit=1000, estimate=never, workers=workers)
    assert (outcome.status, outcome.reason) == (3, "no time for another epoch")
    assert "no epoch fits into the time limit of 1000 s" in outcome.advice
    assert not list(tmp_path.rglob("*.pt"))


def test_a_time_limit_that_an_epoch_fits_into_is_not_called_too_short(tmp_path):
    outcome = campaign([config(epochs=10_000)], tmp_path, time_limit=5)
    assert (outcome.status, outcome.advice) == (3, "rerun the same command to resume")
    assert checkpoints.epochs_done(config(epochs=10_000), tmp_path) > 0


@both
def test_a_time_limit_that_is_over_before_the_start_says_so(tmp_path, workers):
    outcome = campaign([config()], tmp_path, workers=workers, time_limit=5, begun=time.monotonic() - 60)
    assert outcome.status == 3
    assert "of which starting up took 6" in outcome.advice
    assert not list(tmp_path.rglob("*.pt"))


def test_the_pace_of_an_epoch_decides_whether_the_next_is_begun(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(runner.time, "time", lambda: now[0])
    monkeypatch.setattr(runner, "PACES", {})
    asked = runner.until(config(), lambda: False, told.append, deadline=100.0)
    answers = []
    for done in range(4):
        answers.append(asked(done, 10))
        now[0] += 30.0
    assert answers == [False, False, False, True]  # at 90 s the next 33 s go beyond 100
    assert told == [0, 1, 2, 3]  # also of the epoch after which it stops


@both
def test_a_full_disk_stops_all_and_the_same_command_resumes(small_disk, workers):
    place, remount = small_disk
    results = place / "results"
    configs = [config(epochs=2, seed=seed) for seed in range(5)]
    outcome = campaign(configs, results, workers=workers)
    assert (outcome.status, outcome.reason) == (1, "no space is left to write")
    assert "No space left on device" in " ".join(outcome.failed.values())
    assert set(outcome.left) >= {each.name for each in configs[2 * workers :]}
    assert not list(results.rglob("*.part"))
    assert not list(results.glob("digits/*.json"))
    remount("size=50m")
    assert campaign(configs, results, workers=workers).status == 0
    assert {records.load(path).config.seed for path in results.glob("digits/*.json")} == {*range(5)}
    nothing_half_written(results)


def test_a_read_only_disk_is_named(small_disk):
    place, remount = small_disk
    remount("ro")
    with pytest.raises(
        WriteError, match=rf"^{place}/results/.checkpoints cannot be written: Read-only file system$"
    ):
        campaign([config()], place / "results")


def test_a_run_that_cannot_write_says_so(tmp_path):
    options = Options(device="cpu", results=tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        result = runner.run_one(config(), options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.outcome, result.closes) == ("failed", "no space is left to write")
    assert status_of([config()], tmp_path) == {config().name: "failed"}
    nothing_half_written(tmp_path)
    assert runner.run_one(config(), options).outcome == "finished"
    assert status_of([config()], tmp_path) == {config().name: "finished"}
    assert not list(tmp_path.rglob("*.failed"))


def test_one_run_says_how_far_it_came(tmp_path, monkeypatch):
    whole, options = config(epochs=3), Options(device="cpu", results=tmp_path)
    result = runner.run_one(whole, Options(device="cpu", results=tmp_path, stop=lambda done, _: done == 2))
    assert result == runner.Result("stopped")
    assert checkpoints.epochs_done(whole, tmp_path) == 2
    with training.FileLock(checkpoints.lock_of(whole, tmp_path)):
        assert status.running(whole, tmp_path)
        assert runner.run_one(whole, options).outcome == "busy"
    assert not status.running(whole, tmp_path)
    assert runner.run_one(whole, options).outcome == "finished"

    def broken(*_, **__):
        raise RuntimeError("CUDA error:\nan illegal memory access")

    monkeypatch.setattr(runner, "train", broken)
    unsound = runner.run_one(config(seed=1), options)
    assert (unsound.outcome, unsound.closes) == (
        "failed",
        "this process can no longer use the GPU",
    )
    assert unsound.error == "RuntimeError: CUDA error: an illegal memory access"


@both
def test_masks_that_were_not_kept_are_made_again_before_the_run_that_needs_them(tmp_path, workers):
    ticket = config("lottery", epochs=2)
    training.train(ticket.source, device="cpu", results=tmp_path)
    (kept,) = tmp_path.glob("*masks/digits/*.npz")
    content = kept.read_bytes()
    kept.unlink()
    states = status.look([ticket.source, ticket], tmp_path)
    assert [(state.status, state.masks) for state in states] == [("left", True), ("left", False)]
    stopping = Options(device="cpu", results=tmp_path, masks=True, stop=lambda done, _: done == 1)
    assert runner.run_one(ticket.source, stopping).outcome == "stopped"  # and its epoch is not lost:
    assert checkpoints.epochs_done(ticket.source, tmp_path) == 1
    outcome = campaign([ticket], tmp_path, workers=workers)
    assert (outcome.status, outcome.done) == (0, [ticket.source.name, ticket.name])
    assert len(records.load_masks(ticket.source, tmp_path)) > 0
    assert kept.read_bytes() == content


@pytest.mark.parametrize(("masks", "after"), [(True, "left"), (False, "done")])
def test_a_run_that_another_process_trained_is_done_unless_its_masks_are_wanted(tmp_path, masks, after):
    whole = config("static")
    training.train(whole, device="cpu", results=tmp_path)
    job = runner.Job(whole, "elsewhere", masks=masks)
    options = Options(results=tmp_path)
    mine = runner.Campaign({whole.name: job}, options, bars=runner.Bars(1.0, 0.0, 1, False))
    with training.FileLock(checkpoints.lock_of(whole, tmp_path)):
        mine.look(job)
        assert job.status == "elsewhere"
    mine.look(job)
    assert job.status == after


def test_a_run_that_kills_its_workers_fails_and_the_others_go_on(tmp_path):
    """Here somebody kills the process that is at it, again and again."""
    after, good = config("lottery", **ENDLESS), config()
    deadly = after.source
    over = threading.Event()

    def kill():
        seen = None
        while not over.is_set():
            pid = holder(deadly, tmp_path)
            if pid and pid not in (seen, os.getpid()):
                seen = pid
                time.sleep(0.3)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    with meanwhile(kill):
        try:
            outcome = campaign([after, good], tmp_path, workers=2, time_limit=60)
        finally:
            over.set()
    assert outcome.status == 1
    assert outcome.done == [good.name]
    assert "its worker died, 5 times without an epoch in between" in outcome.failed[deadly.name]
    assert outcome.failed[after.name] == f"needs {deadly.name}, which failed"
    assert status_of([deadly], tmp_path) == {deadly.name: "failed"}


def test_a_damaged_record_is_named_and_not_trained_over(tmp_path):
    done, damaged = config("static"), config()
    path = records.path_of(damaged, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    outcome = campaign([done, damaged], tmp_path, progress=True)
    assert (outcome.status, outcome.done) == (1, [done.name])
    assert "not a valid record" in outcome.failed[damaged.name]
    assert path.read_text() == "{"


@both
def test_warnings_are_said(tmp_path, capsys, workers):
    odd = config(delta_t=60)  # two epochs have one update, and a half of another's time
    training.train(odd, device="cpu", results=tmp_path)
    kept = config("lottery")
    assert campaign([odd, kept], tmp_path, workers=workers).status == 0
    assert capsys.readouterr().err == ""


def test_bars_for_all_and_for_each_worker(capsys):
    bars = runner.Bars(100.0, 25.0, 2, True)
    assert bars.left() == ""
    bar = bars.begin("rigl-erk density 0.2 s0", 4, 1)
    bar.n = 3
    bars.work(100.0, 50.0, "1/3 runs")
    bars.refresh()
    assert bars.left().startswith("about 0 s")
    bars.say("a line above")
    bars.idle(bar)
    bars.close()
    shown = capsys.readouterr()
    assert "1/3 runs  50%" in shown.err
    assert "rigl-erk density 0.2 s0 3/4 epochs" in shown.err
    assert "a line above" in shown.out
    quiet = runner.Bars(0.0, 0.0, 1, False)
    quiet.say("a line")
    quiet.close()
    assert capsys.readouterr() == ("a line\n", "")


def test_training_stops_where_it_is_told_and_waits_for_nobody(tmp_path):
    """The two hooks that a campaign needs of `rigl.train`."""
    whole, asked = config("rigl-reinit", epochs=2), []

    def stop(done, total):
        asked.append((done, total))
        return len(asked) > 4

    record = training.train(whole, device="cpu", results=tmp_path / "whole")
    with pytest.raises(training.Interrupted, match="was stopped after 0 epochs") as caught:
        training.train(config("rigl-sm", epochs=2), device="cpu", results=tmp_path, stop=lambda *_: True)
    assert len(caught.value._render_traceback_()) == 1
    got = training.train(whole, device="cpu", results=tmp_path, stop=stop)
    assert asked == [(0, 2), (1, 2)] * 2  # its source's epochs, then its own; never after the last
    assert got.model_dump(exclude={"provenance"}) == record.model_dump(exclude={"provenance"})
    other = config(seed=9)
    with (
        training.FileLock(checkpoints.lock_of(other, tmp_path)),
        pytest.raises(TimeoutError),
    ):
        training.train(other, device="cpu", results=tmp_path, wait=False)
    with pytest.raises(ConfigError):
        training.train(other, device="gpu", results=tmp_path)


def test_lanes_share_a_process(tmp_path):
    """Three runs at a time in one process give the records of runs alone; a run that cannot be leaves the
    others alone."""
    configs = [config(seed=seed) for seed in range(4)] + [config("lottery")]
    bad = config("lottery", epochs=2, delta_t=500)
    outcome = campaign([*configs, bad], tmp_path / "lanes", lanes=3)
    assert outcome.status == 1
    assert list(outcome.failed) == [bad.source.name, bad.name]
    found = {record.name: record for _, record in records.records(tmp_path / "lanes")}
    assert len(found) == 6
    assert {record.provenance.lanes for record in found.values()} == {3}
    alone = training.train(configs[0], device="cpu", results=tmp_path / "alone")
    assert found[alone.name].state_sha256 == alone.state_sha256
    nothing_half_written(tmp_path / "lanes")


def test_a_process_with_lanes_that_is_killed(tmp_path):
    """Its lanes' runs resume in another."""
    configs = [config(seed=seed, epochs=20) for seed in range(2)]

    def kill():
        pids = {mid_run(each, tmp_path) for each in configs}
        assert len(pids) == 1
        os.kill(pids.pop(), signal.SIGKILL)

    with meanwhile(kill):
        outcome = campaign(configs, tmp_path, lanes=2)
    assert outcome.status == 0
    assert {record_of(each, tmp_path).provenance.resumed for each in configs} == {1}
    nothing_half_written(tmp_path)


def test_several_devices_are_for_workers_of_this_machine(tmp_path):
    with pytest.raises(ConfigError, match="device='cuda:0,cuda:1': give one device with a cluster"):
        runner.run([config()], results=tmp_path, device="cuda:0,cuda:1", cluster="tcp://127.0.0.1:1")


PROGRAM = """
import sys
from rigl import RunConfig
from rigl.campaign import notebook, runner

config = RunConfig(model="lenet-300-100", density=0.2, epochs=1)
for tracker in (None, "tensorboard"):
    runner.run([config], device="cpu", results=f"{sys.argv[1]}/{tracker}", tracker=tracker)
    names = ("dask", "distributed", "optuna", "tensorboard", "wandb")
    print("imported:", [name for name in names if name in sys.modules])
"""


def test_nothing_is_imported_that_was_not_asked_for(python, tmp_path):
    out = python("-c", PROGRAM, str(tmp_path), cwd=tmp_path, check=True).stdout
    told = [line for line in out.splitlines() if line.startswith("imported")]
    assert told == ["imported: []", "imported: ['tensorboard']"]
