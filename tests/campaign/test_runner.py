"""Campaigns with real worker processes, small and real runs, and whatever may happen to them."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest
from campaigns import config, events, meanwhile, wait_for

from rigl.campaign import journal, processes, runner, status, work
from rigl.campaign.status import tidy
from rigl.training import records
from rigl.training import train as training
from rigl.training.config import ConfigError, RunConfig
from rigl.training.estimate import Estimate


def campaign(configs, results, **options):
    return runner.run(configs, results=results, device="cpu", **options)


def status_of(configs, results):
    return {state.config.name: state.status for state in status.look(configs, results)}


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().split(")")[1].split()[0] == "Z"


def nothing_half_written(results):
    assert not list(results.rglob("*.part"))
    for path in results.glob("digits/*.json"):
        records.load(path)


def test_all_runs_are_done_in_order_and_none_twice(tmp_path, capsys):
    """With two workers, a run that diverges, one that cannot be, and those that start from them."""
    good = [config(seed=0), config("lottery"), config(seed=1)]
    bad = [
        config("lottery", learning_rate=1e30),  # its source diverges
        config("lottery", epochs=2, delta_t=500),  # its source has no update
    ]
    outcome = campaign([*good, *bad], tmp_path, workers=2)
    assert outcome.status == 1
    assert set(outcome.done) == {each.name for each in (*good, good[1].source, bad[0].source)}
    assert outcome.left == []
    assert outcome.failed.keys() == {bad[0].name, bad[1].name, bad[1].source.name}
    assert "which diverged" in outcome.failed[bad[0].name]
    assert "leaves pruning no update" in outcome.failed[bad[1].source.name]
    assert outcome.failed[bad[1].name] == f"needs {bad[1].source.name}, which failed"
    assert [line for line in outcome.lines() if bad[0].name in line]
    said = capsys.readouterr().out
    assert all(name in said for name in (*outcome.done, *outcome.failed))
    assert {each["run"] for each in events(tmp_path, "finish")} == set(outcome.done)
    assert len(events(tmp_path, "finish")) == len(outcome.done)
    alone = training.train(good[0], device="cpu", results=tmp_path / "alone")
    assert records.load(records.path_of(good[0], tmp_path)).state_sha256 == alone.state_sha256

    # The same command again: nothing is trained but what failed.
    before = len(journal.notes(tmp_path))
    again = campaign([*good, *bad], tmp_path)
    assert (set(again.done), again.failed.keys()) == (set(outcome.done), outcome.failed.keys())
    assert {each["event"] for each in journal.notes(tmp_path)[before:]} == {"fail"}
    states = status_of([*good, *bad], tmp_path)
    assert Counter(states.values()) == {"finished": 3, "failed": 2}
    nothing_half_written(tmp_path)


def test_a_worker_killed_in_mid_run_is_replaced_and_the_run_goes_on(tmp_path):
    long, other = config(epochs=20), config("static")
    checkpoint = training.checkpoint_of(long, tmp_path)

    def kill():
        wait_for(checkpoint.exists)
        os.kill(events(tmp_path, "start", long.name)[0]["pid"], signal.SIGKILL)

    with meanwhile(kill):
        outcome = campaign([long, other], tmp_path)
    assert outcome.status == 0
    first, second = events(tmp_path, "start", long.name)
    assert first["epoch"] == 0 < second["epoch"]
    assert "signal 9" in events(tmp_path, "died")[0]["error"]
    assert records.load(records.path_of(long, tmp_path)).provenance.resumed == 1
    assert len(events(tmp_path, "start", other.name)) == 1
    nothing_half_written(tmp_path)


def another_runner(knobs, results):
    campaign([RunConfig(**each) for each in knobs], results, workers=2)


def test_two_runners_share_a_folder_and_one_is_killed(tmp_path, capsys):
    """No run is done twice, the killed one's run goes on elsewhere, and its workers do not outlive it."""
    long, *short = configs = [
        config(epochs=20),
        *(config("static", epochs=2, seed=seed) for seed in range(6)),
    ]
    knobs = [each.model_dump() for each in configs]
    other = multiprocessing.get_context("forkserver").Process(target=another_runner, args=(knobs, tmp_path))
    other.start()
    wait_for(training.checkpoint_of(long, tmp_path).exists)
    orphan = events(tmp_path, "start", long.name)[0]["pid"]
    os.kill(orphan, signal.SIGSTOP)  # it holds its run, whatever the other runner does

    said = []

    def waits():
        said.append(capsys.readouterr().out)
        return "waiting for runs that other processes train" in "".join(said)

    def kill():
        # Not only records: a runner notes a finish after it, and could be killed between the two.
        wait_for(lambda: all(events(tmp_path, "finish", each.name) for each in short))
        wait_for(waits)
        other.kill()
        os.kill(orphan, signal.SIGCONT)

    with meanwhile(kill):
        outcome = campaign(configs, tmp_path, workers=1)
    other.join()
    assert outcome.status == 0
    assert Counter(each["run"] for each in events(tmp_path, "finish")) == {each.name: 1 for each in configs}
    assert {each.name: len(events(tmp_path, "start", each.name)) for each in short} == {
        each.name: 1 for each in short
    }
    first, second = events(tmp_path, "start", long.name)
    assert first["epoch"] == 0 < second["epoch"]
    assert records.load(records.path_of(long, tmp_path)).provenance.resumed == 1
    wait_for(lambda: all(gone(each["pid"]) for each in journal.notes(tmp_path)[:1]))
    tidy(tmp_path)  # as the next runner does: the killed one may have been writing a checkpoint
    nothing_half_written(tmp_path)


def test_ctrl_c_stops_after_the_epoch_and_the_same_command_goes_on(tmp_path):
    configs = [config(epochs=20), config("static")]
    checkpoint = training.checkpoint_of(configs[0], tmp_path)

    def interrupt():
        wait_for(checkpoint.exists)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with meanwhile(interrupt):
        outcome = campaign(configs, tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (outcome.status, outcome.reason) == (3, "interrupted")
    assert outcome.left == [each.name for each in configs]
    assert len(events(tmp_path, "stop", configs[0].name)) == 1
    assert not events(tmp_path, "died")
    (state, _) = status.look(configs, tmp_path)
    assert (state.status, state.done) == ("begun", False)
    assert state.epochs > 0
    nothing_half_written(tmp_path)
    short = config("static", seed=7)
    assert campaign([short], tmp_path).status == 0  # the handler's count is this campaign's own


def test_at_the_time_limit_the_rest_is_left(tmp_path, monkeypatch):
    """Also in the middle of an epoch: this clock jumps ahead, so that the worker cannot foresee it."""
    long = config("dense", model="wrn-10-1", epochs=500)
    checkpoint, monotonic = training.checkpoint_of(long, tmp_path), time.monotonic
    ahead = []

    def jump():
        if not ahead and checkpoint.exists():
            ahead.append(10_000.0)
        return monotonic() + sum(ahead)

    with monkeypatch.context() as patch:
        patch.setattr(runner.time, "monotonic", jump)
        outcome = campaign([long, config()], tmp_path, time_limit=5_000)
    assert (outcome.status, outcome.reason) == (3, "the time is up")
    assert set(outcome.left) == {long.name, config().name}
    assert "2 (the time is up); the same command goes on" in " ".join(outcome.lines())
    assert training.epochs_done(long, tmp_path) >= 1
    assert not status.running(long, tmp_path)
    nothing_half_written(tmp_path)


def test_a_run_whose_first_epoch_would_come_too_late_is_not_begun(tmp_path):
    outcome = campaign([config()], tmp_path, time_limit=1000, estimate=lambda _: Estimate(1e6, 1, "the test"))
    assert (outcome.status, outcome.reason) == (3, "no time for another epoch")
    assert not events(tmp_path, "start")


def test_the_pace_of_an_epoch_decides_whether_the_next_is_begun(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(work.time, "monotonic", lambda: now[0])
    asked = work.until(
        work.Order(config(), epoch=None, left=100.0), threading.Event(), {}, lambda *done: told.append(done)
    )
    answers = []
    for done in range(4):
        answers.append(asked(done, 10))
        now[0] += 30.0
    assert answers == [False, False, False, True]  # at 90 s the next 33 s go beyond 100
    assert told == [(0, 10), (1, 10), (2, 10), (3, 10)]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 300 KB, and what makes it large."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,size=50m", place], check=True)
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_stops_all_and_the_same_command_goes_on(small_disk):
    place, enlarge = small_disk
    results = place / "results"
    configs = [config(epochs=2, seed=seed) for seed in range(3)]
    outcome = campaign(configs, results)
    assert (outcome.status, outcome.reason) == (1, "no room is left to write")
    assert "No space left on device" in outcome.failed[configs[0].name]
    assert outcome.left == [each.name for each in configs[1:]]
    nothing_half_written(results)
    assert not list(results.glob("digits/*.json"))
    enlarge()
    assert campaign(configs, results).status == 0
    assert {records.load(path).config.seed for path in results.glob("digits/*.json")} == {0, 1, 2}
    nothing_half_written(results)


def test_a_run_that_cannot_write_says_so(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        result = work.run_one(config(), results=tmp_path, device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.outcome, result.no_room) == ("failed", True)
    assert journal.failures(tmp_path).keys() == {config().name}
    nothing_half_written(tmp_path)
    assert work.run_one(config(), results=tmp_path, device="cpu").outcome == "finished"
    assert journal.failures(tmp_path) == {}


def test_one_run_says_how_far_it_came(tmp_path, monkeypatch):
    whole = config(epochs=3)
    result = work.run_one(whole, results=tmp_path, device="cpu", stop=lambda done, _: done == 2)
    assert result == work.Result("stopped")
    assert training.epochs_done(whole, tmp_path) == 2
    lock = training.FileLock(training.lock_of(whole, tmp_path))
    with lock:
        assert status.running(whole, tmp_path)
        assert work.run_one(whole, results=tmp_path, device="cpu").outcome == "busy"
    assert not status.running(whole, tmp_path)
    result = work.run_one(whole, results=tmp_path, device="cpu")
    assert (result.outcome, result.sound) == ("finished", True)
    assert [each["event"] for each in journal.notes(tmp_path)] == ["start", "stop", "start", "finish"]

    def broken(*_, **__):
        raise RuntimeError("CUDA error:\nan illegal memory access")

    monkeypatch.setattr(work, "train", broken)
    unsound = work.run_one(config(seed=1), results=tmp_path, device="cpu")
    assert (unsound.outcome, unsound.sound) == ("failed", False)
    assert unsound.error == "RuntimeError: CUDA error: an illegal memory access"


def test_masks_that_were_not_kept_are_made_again_before_the_run_that_needs_them(tmp_path):
    ticket = config("lottery", epochs=2)
    training.train(ticket.source, device="cpu", results=tmp_path)
    (kept,) = tmp_path.glob("*masks/digits/*.npz")
    content = kept.read_bytes()
    kept.unlink()
    states = status.look([ticket.source, ticket], tmp_path)
    assert [(state.status, state.masks) for state in states] == [("left", True), ("left", False)]
    stopped = work.run_one(
        ticket.source, results=tmp_path, device="cpu", masks=True, stop=lambda done, _: done == 1
    )
    assert stopped.outcome == "stopped"  # and its epoch is not lost:
    assert training.epochs_done(ticket.source, tmp_path) == 1
    outcome = campaign([ticket], tmp_path)
    assert (outcome.status, outcome.done) == (0, [ticket.source.name, ticket.name])
    assert [each["epoch"] for each in events(tmp_path, "start", ticket.source.name)] == [0, 1]
    assert len(records.load_masks(ticket.source, tmp_path)) > 0
    assert kept.read_bytes() == content


def dies_at_work(lines, *_):
    (line,) = lines
    line.send("ready")
    line.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at_once(*_):
    os._exit(3)


def test_a_run_that_kills_its_workers_fails_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    """Here it is all runs: workers that die of a signal, again and again."""
    monkeypatch.setattr(work, "worker", dies_at_work)
    configs = [config("pruning"), config("lottery")]
    outcome = campaign(configs, tmp_path, workers=2)
    assert outcome.status == 1
    assert f"died by signal 9, {runner.DEATHS} times" in outcome.failed[configs[0].name]
    assert "which failed" in outcome.failed[configs[1].name]
    assert status_of(configs, tmp_path)[configs[0].name] == "failed"
    assert len(events(tmp_path, "died")) == runner.DEATHS
    assert "goes on from its last epoch" in capsys.readouterr().out


def test_workers_that_cannot_even_start_end_the_campaign(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "worker", dies_at_once)
    with pytest.raises(runner.WorkerError, match="die as they start, the last one with status 3"):
        campaign([config()], tmp_path)


def tells_what_it_holds_back(line):
    line.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_a_worker_hears_of_no_ctrl_c_from_its_very_start():
    """Nor does the server that starts it, which once died of it while it imported torch."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ours, theirs = multiprocessing.Pipe()
    process = processes.start(tells_what_it_holds_back, theirs)
    assert {signal.SIGINT, signal.SIGTERM} <= ours.recv()
    process.join()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_damaged_record_is_named_and_not_trained_over(tmp_path):
    done, damaged = config("static"), config()
    path = records.path_of(damaged, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    outcome = campaign([done, damaged], tmp_path, progress=True)
    assert (outcome.status, outcome.done) == (1, [done.name])
    assert "not a valid record" in outcome.failed[damaged.name]
    assert path.read_text() == "{"


def test_bars_for_all_and_for_each_worker(tmp_path, capsys):
    bars = runner.Bars(100.0, 25.0, 2, True)
    assert bars.left() == ""
    bars.begin(1, "rigl-erk density 0.2 s0", 4)
    bars.epoch(1, 1, True)
    bars.epoch(1, 3, False)
    bars.work(50.0, "1/3 runs")
    bars.refresh()
    assert bars.left().startswith("about 0 s")
    bars.say("a line above")
    bars.idle(1)
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
        training.FileLock(training.lock_of(other, tmp_path)),
        pytest.raises(TimeoutError),
    ):
        training.train(other, device="cpu", results=tmp_path, wait=False)
    assert json.dumps(journal.notes(tmp_path)) == "[]"
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
    """Its lanes' runs go on in another."""
    configs = [config(seed=seed, epochs=6) for seed in range(2)]

    def kill():
        wait_for(lambda: len(events(tmp_path, "start")) == 2)
        children = [process for process in multiprocessing.active_children() if process.is_alive()]
        for process in children:
            process.kill()
        assert len(children) == 1

    with meanwhile(kill):
        outcome = campaign(configs, tmp_path, lanes=2)
    assert outcome.status == 0
    assert len(list(records.records(tmp_path))) == 2
    nothing_half_written(tmp_path)
