"""Campaigns on a Dask cluster: a real scheduler and real workers, each a process, and whatever may happen."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import chain, count

import pytest
from campaigns import config, dask_command, meanwhile, mid_run, wait_for
from forked import forked

from rigl.campaign import cluster, runner, status, tasks
from rigl.campaign.__main__ import main
from rigl.training import records
from rigl.training import train as training
from rigl.training.config import ConfigError
from rigl.training.train import Options

SLURM = """\
jobs: 8
queue: gpu
cores: 4
processes: 1
memory: 16GB
walltime: "12:00:00"
interface: lo
job_extra_directives: ["--gres=gpu:1"]
worker_extra_args: ["--resources", "GPU=1"]
"""


class Dask:
    """A scheduler and two workers, of which the first has a GPU, by its own account."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}
        self.address = self.client = None

    def ensure(self, *names):
        """Start again what has been killed, of these workers at least."""
        from distributed import Client

        if not self._alive("scheduler"):
            where_to = self.folder / f"scheduler-{time.monotonic_ns()}.json"
            options = ["--port", "0", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", where_to]
            self._begin("scheduler", options)
            wait_for(where_to.exists)
            self.client = Client(scheduler_file=where_to, set_as_default=False)
            self.address = self.client.scheduler.address
        for name, more in (("one", ["--resources", "GPU=1"]), ("two", [])):
            if name in names and not self._alive(name):
                options = [self.address, "--no-nanny", "--no-dashboard", "--name", name, *more]
                self._begin(name, [*options, "--nthreads", 1, "--preload", "rigl.campaign.tasks"])
        wait_for(lambda: set(names) <= set(self.workers()))

    def workers(self):
        """{name: address}"""
        there = self.client.scheduler_info(n_workers=-1)["workers"]
        return {worker["name"]: address for address, worker in there.items()}

    def pid(self, name):
        return self.processes[name].pid

    def end(self):
        if self.client:
            self.client.close()
        for process in self.processes.values():
            process.kill()
            process.join()

    def _alive(self, name):
        return name in self.processes and self.processes[name].is_alive()

    def _begin(self, name, options):
        part = "scheduler" if name == "scheduler" else "worker"
        self.processes[name] = forked(dask_command, part, options, self.folder / f"{name}.log")


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    dask = Dask(tmp_path_factory.mktemp("dask"))
    yield dask
    dask.end()


@pytest.fixture
def dask(processes):
    processes.ensure("one", "two")
    return processes


def campaign(dask, configs, results, device="cpu", **options):
    return runner.run(configs, results=results, device=device, cluster=dask.address, **options)


def record_of(run, results):
    return records.load(records.path_of(run, results))


def test_all_runs_are_done_and_none_twice(dask, tmp_path, capsys):
    good = [config(seed=0, epochs=20), config(seed=1, epochs=20), config("lottery")]
    bad = config("lottery", epochs=2, delta_t=500)  # its source has no update
    pids = set()

    def watch():
        for each in good[:2]:
            pids.add(mid_run(each, tmp_path))

    with meanwhile(watch):
        outcome = campaign(dask, [*good, bad], tmp_path)
    assert outcome.status == 1
    assert set(outcome.done) == {each.name for each in (*good, good[2].source)}
    assert outcome.failed.keys() == {bad.name, bad.source.name}
    assert outcome.failed[bad.name] == f"needs {bad.source.name}, which failed"
    said = capsys.readouterr().out
    assert all(f" {name}" in said for name in (*outcome.done, *outcome.failed))
    assert pids == {dask.pid("one"), dask.pid("two")}
    alone = training.train(good[2], device="cpu", results=tmp_path / "alone")
    assert record_of(good[2], tmp_path).state_sha256 == alone.state_sha256

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("digits/*.json")}
    assert campaign(dask, good, tmp_path).status == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("digits/*.json")} == before


def test_a_gpu_is_given_to_one_run_at_a_time(dask, tmp_path, capsys):
    """While that of worker "one" is taken, a run on a GPU waits."""
    from distributed import Event

    def hold():
        Event("taken").set()
        Event("done").wait()

    taken, done = (Event(name, client=dask.client) for name in ("taken", "done"))
    holder = dask.client.submit(hold, workers=[dask.workers()["one"]], resources={"GPU": 1})
    taken.wait(timeout=60)
    try:
        assert campaign(dask, [config("static")], tmp_path).status == 0  # on a CPU, there is "two"
        ends = campaign(dask, [config()], tmp_path, device="cuda", time_limit=5)
        assert (ends.status, ends.reason) == (3, "the time is up")
        assert "waiting for workers of the cluster" in capsys.readouterr().out
    finally:
        done.set()
    holder.result()
    ends = campaign(dask, [config()], tmp_path, device="cuda")  # goes to "one", which in truth has none
    if ends.failed:
        assert "device='cuda' is not available here" in ends.failed[config().name]


def test_workers_need_the_folder_of_results(tmp_path):
    from distributed import Client

    task = {
        "options": Options(device="cpu", results=tmp_path),
        "topic": "a campaign's",
        "folder": "of another machine",
        "devices": ["cpu"],
        "threads": 1,
        "epoch": None,
        "deadline": None,
    }
    with Client(processes=False, n_workers=1, dashboard_address=None, set_as_default=False) as client:
        result = client.submit(tasks.work, config(), None, **task).result(timeout=60)
    assert result.closes == "the workers do not share the results folder"
    assert result.error.endswith(f"does not share {tmp_path}: all workers need the same results folder")
    assert not list(tmp_path.rglob("*.json"))


def test_a_worker_of_other_versions_is_named_once(dask, tmp_path, capsys, monkeypatch):
    mine = {**tasks.provenance.versions(), "torch": "2.0"}
    monkeypatch.setattr(tasks.provenance, "versions", lambda: mine)
    assert campaign(dask, [config()], tmp_path).status == 0
    assert "has other versions: torch " in capsys.readouterr().out


def test_a_run_whose_runner_is_killed_stops_and_resumes_by_the_same_command(dask, tmp_path):
    long = config(epochs=60)
    other = forked(runner.run, [long], results=tmp_path, device="cpu", cluster=dask.address)
    mid_run(long, tmp_path)
    other.kill()
    other.join()
    wait_for(lambda: not status.running(long, tmp_path))
    assert not records.path_of(long, tmp_path).exists()
    assert campaign(dask, [long], tmp_path).status == 0
    assert record_of(long, tmp_path).provenance.resumed == 1


def test_a_worker_killed_in_mid_run_and_its_run_resumes_elsewhere(dask, tmp_path, capsys):
    long, ticket = config("pruning", epochs=20), config("lottery", epochs=20)
    with meanwhile(lambda: os.kill(mid_run(long, tmp_path), signal.SIGKILL)):
        outcome = campaign(dask, [ticket, config("static")], tmp_path)
    assert outcome.status == 0
    assert f"the worker of {long.name} died: its run resumes after epoch" in capsys.readouterr().out
    alone = training.train(ticket, device="cpu", results=tmp_path / "alone")
    assert record_of(ticket, tmp_path).state_sha256 == alone.state_sha256
    assert record_of(long, tmp_path).provenance.resumed == 1
    assert not list(tmp_path.rglob("*.part"))


def test_a_scheduler_that_dies_ends_the_campaign(processes, tmp_path):
    processes.ensure("two")
    long = config(epochs=200)

    def kill():
        mid_run(long, tmp_path)
        processes.processes["scheduler"].kill()

    with meanwhile(kill), pytest.raises(cluster.WorkerError, match="is gone"):
        campaign(processes, [long], tmp_path)
    for process in processes.processes.values():  # else the worker goes on with it
        process.kill()
        process.join()


MANY = """
import sys
from rigl.campaign import runner
from rigl.training.config import RunConfig
if __name__ == "__main__":
    options = {"model": "lenet-300-100", "delta_t": 20, "density": 0.2, "epochs": 3}
    configs = [RunConfig(method=m, seed=s, **options) for s in range(50) for m in sys.argv[3:]]
    outcome = runner.run(configs, results=sys.argv[1], device="cpu", cluster=sys.argv[2])
    sys.exit(outcome.status)
"""


@pytest.mark.slow
def test_two_hundred_runs_through_random_kills(dask, tmp_path, root):
    """Of workers and of the runner."""
    results, chance = tmp_path / "results", random.Random(0)
    methods = ("rigl", "static", "pruning", "lottery")
    kills = Counter()
    # Each once, in any order, before one for the second time: all are killed on a fast machine too.
    rounds = (chance.sample(("one", "two", "runner"), 3) for _ in count())
    victims = chain.from_iterable(rounds)

    def begin():
        environment = {**os.environ, "PYTHONPATH": str(root)}
        log = (tmp_path / "runner.log").open("ab")
        program = [sys.executable, "-c", MANY, results, dask.address, *methods]
        return subprocess.Popen(program, env=environment, stdout=log, stderr=log)

    process = begin()
    # By what is done, not by the clock: a fast machine would be through before all were killed.
    after = chance.randint(5, 40)
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
            break
        if len(list(results.glob("digits/*.json"))) < after:
            continue
        after += chance.randint(5, 40)
        victim = next(victims)
        kills[victim] += 1
        if victim == "runner":
            process.kill()
            process.wait()
            process = begin()
        else:
            dask.processes[victim].kill()
            dask.processes[victim].join()
            dask.ensure("one", "two")
    print(dict(kills))
    assert process.returncode == 0, (tmp_path / "runner.log").read_text()
    assert set(kills) == {"one", "two", "runner"}
    assert status.verify(results) == (200, [])
    assert len(list(results.glob("digits/*"))) == 200
    assert not list(results.rglob("*.part"))


def test_the_job_that_slurm_would_get(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text(SLURM)
    found = cluster.check(str(path))
    with cluster.begin_slurm(str(path), found.model_copy(update={"jobs": 0}), "cuda") as begun:
        script = begun.job_script().splitlines()
        command = script[-2] if not script[-1] else script[-1]
        assert f"distributed.cli.dask_worker {begun.scheduler_address} " in command
    for line in ("-p gpu", "--cpus-per-task=4", "--mem=15G", "-t 12:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in script
    assert command.startswith(sys.executable)
    assert "--resources GPU=1" in command
    assert "--nthreads 4" in command
    path.write_text(SLURM.replace("jobs: 8", "adapt: {minimum_jobs: 0, maximum_jobs: 64}"))
    assert cluster.check(str(path)).adapt.maximum_jobs == 64
    path.write_text(SLURM.replace("worker_extra_args", "# "))
    with pytest.raises(ConfigError, match="device cuda needs worker_extra_args"):
        cluster.begin_slurm(str(path), cluster.check(str(path)), "cuda")
    path.write_text(SLURM.replace("cores: 4\n", ""))
    with pytest.raises(ConfigError, match=r"slurm\.yaml: You must specify how much cores"):
        cluster.begin_slurm(str(path), cluster.check(str(path)), "cpu")
    path.write_text(SLURM.replace("queue", "queeu"))
    with pytest.raises(ConfigError, match=r"slurm\.yaml: .*queeu"):
        cluster.begin_slurm(str(path), cluster.check(str(path)), "cpu")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("jobs: 8", ""), "set either 'jobs: N' or 'adapt:"),
        (("jobs: 8", "jobs: 8\nadapt: {minimum_jobs: 1, maximum_jobs: 2}"), "set either"),
        (("jobs: 8", "jobs: eight"), "jobs='eight': Input should be a valid integer"),
        (("jobs: 8", "jobs: 0"), "jobs=0: Input should be greater than or equal to 1"),
        (("jobs: 8", "adapt: {minimum_jobs: 3, maximum_jobs: 2}"), "minimum_jobs=3 is more than maximum"),
        (("jobs: 8", "adapt: {maximum: 2}"), "adapt.minimum_jobs.*: Field required"),
        (("jobs: 8", "jobs: [8"), "cannot be read"),
        ((SLURM, "- 8"), "should be a valid dictionary"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, change, reason):
    path = tmp_path / "slurm.yaml"
    path.write_text(SLURM.replace(*change))
    with pytest.raises(ConfigError, match=reason) as caught:
        cluster.check(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        *((text, "tcp://SCHEDULER:PORT") for text in ("local", "8786", "tcp://here", "slurm.txt")),
        ("no.yaml", "cannot be read"),
        ("local:2", "give --workers 2"),
    ],
)
def test_a_wrong_cluster_is_one_clear_line(text, hint, tmp_path, capsys):
    arguments = ["run", "table2", "--protocol", "smoke", "--results", str(tmp_path), "--cluster", text]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert repr(text) in said.err
    assert hint in said.err
    assert said.out == ""
    assert main([*arguments, "--workers", "2"]) == 2
    assert "cannot be combined with --cluster" in capsys.readouterr().err


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with pytest.raises(cluster.WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        runner.run([config()], results=tmp_path, device="cpu", cluster="tcp://127.0.0.1:1")


def test_without_dask(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = ["run", "table2", "--protocol", "smoke", "--results", str(tmp_path)]
    for more in (["--workers", "2"], ["--lanes", "2"], ["--cluster", "tcp://127.0.0.1:1"]):
        assert main([*arguments, *more]) == 2
        said = capsys.readouterr().err
        assert said == 'several workers need distributed: pip install -e ".[campaign]"\n'
