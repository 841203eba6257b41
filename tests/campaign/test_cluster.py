"""Campaigns on Dask: a real scheduler and real workers, each a process, and whatever may happen to them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

import pytest
from campaigns import config, events, meanwhile, wait_for

from rigl.campaign import overhead, plan, runner, store, where
from rigl.training import records
from rigl.training import train as training


def alive(group):
    """Processes of a group that are more than an entry in a table."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its, *_ = path.read_text().rpartition(")")[2].split()
            found += [path] if int(its) == group and state != "Z" else []
    return found


class Dask:
    """A scheduler and two workers, of which the first has a GPU, by its own account.

    The folder of results that a worker sees is a link, which stands for what is mounted on its machine.
    """

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
        for name, threads, more in (("one", 2, ["--resources", "GPU=1"]), ("two", 1, [])):
            if name in names and not self._alive(name):
                options = [self.address, "--no-nanny", "--no-dashboard", "--name", name, *more]
                self._begin(name, [*options, "--nthreads", threads, "--preload", "rigl.campaign.remote"])
        wait_for(lambda: set(names) <= set(self.workers()))

    def workers(self):
        """{name: address}"""
        there = self.client.scheduler_info(n_workers=-1)["workers"]
        return {worker["name"]: address for address, worker in there.items()}

    def pid(self, name):
        return self.processes[name].pid

    def mount(self, **folders):
        """Which folder each worker sees as its results."""
        for name, folder in folders.items():
            folder.mkdir(exist_ok=True)
            new = self.folder / f".{name}"
            new.symlink_to(folder, target_is_directory=True)
            new.rename(self.folder / name)

    def end(self):
        if self.client:
            self.client.close()
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _alive(self, name):
        return name in self.processes and self.processes[name].poll() is None

    def _begin(self, name, options):
        part = "scheduler" if name == "scheduler" else "worker"
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{part}", *map(str, options)],
            env={**os.environ, "RIGL_RESULTS": str(self.folder / name)},
            cwd=self.folder,
            stderr=(self.folder / f"{name}.log").open("ab"),
        )


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    dask = Dask(tmp_path_factory.mktemp("dask"))
    yield dask
    dask.end()


@pytest.fixture
def dask(processes):
    processes.ensure("one", "two")
    return processes


@pytest.fixture
def shared(dask, tmp_path):
    """The workers see the campaign's own folder, which is this."""
    results = tmp_path / "results"
    dask.mount(one=results, two=results)
    return results


@pytest.fixture
def apart(dask, tmp_path):
    """Each worker has a file system of its own; the campaign's folder is this."""
    dask.mount(one=tmp_path / "one", two=tmp_path / "two")
    return tmp_path / "results"


def campaign(dask, configs, results, device="cpu", **options):
    return runner.run(configs, results=results, device=device, cluster=dask.address, **options)


def state(each, results):
    return records.load(records.path_of(each, results)).state_sha256


def files(folder):
    return [path for path in folder.rglob("*") if path.suffix in (".json", ".npz", ".pt", ".part")]


def test_all_runs_are_done_in_order_and_none_twice(dask, shared, capsys):
    good = [config(seed=0), config("lottery"), config(seed=1)]
    bad = config("lottery", epochs=2, delta_t=500)  # its source has no update
    outcome = campaign(dask, [*good, bad], shared)
    assert outcome.status == 1
    assert set(outcome.done) == {each.name for each in (*good, good[1].source)}
    assert outcome.failed.keys() == {bad.name, bad.source.name}
    assert outcome.failed[bad.name] == f"needs {bad.source.name}, which failed"
    said = capsys.readouterr().out
    assert all(name in said for name in (*outcome.done, *outcome.failed))
    finished = [each["run"] for each in events(shared, "finish")]
    assert Counter(finished) == dict.fromkeys(outcome.done, 1)
    assert finished.index(good[1].source.name) < finished.index(good[1].name)
    assert {each["pid"] for each in events(shared, "start")} == {dask.pid("one"), dask.pid("two")}
    alone = training.train(good[1], device="cpu", results=shared / "alone")
    assert state(good[1], shared) == alone.state_sha256

    before = len(events(shared, "start"))
    assert campaign(dask, good, shared).status == 0
    assert len(events(shared, "start")) == before


def test_records_and_masks_travel_where_no_file_system_is_shared(dask, apart, tmp_path):
    configs = [config("lottery"), config("rigl-reinit"), config("static", seed=1)]
    for each in configs[:2]:
        training.train(each, device="cpu", results=tmp_path / "alone")
    outcome = campaign(dask, configs, apart)
    assert outcome.status == 0
    for each in (*configs[:2], configs[0].source, configs[1].source):
        assert state(each, apart) == state(each, tmp_path / "alone")
        ours, alone = (records.load_masks(each, folder) for folder in (apart, tmp_path / "alone"))
        assert ours.keys() == alone.keys()
        assert all((ours[name] == alone[name]).all() for name in ours)
    assert Counter(each["run"] for each in events(apart, "finish")) == dict.fromkeys(outcome.done, 1)
    assert {each["worker"] for each in events(apart, "start")} == set(dask.workers().values())
    for name in ("one", "two"):  # what a worker leaves there is only what the next run starts from
        left = {path.stem for path in files(tmp_path / name)}
        assert left <= {configs[0].source.name, configs[1].source.name}
    assert not list(apart.rglob("*.part"))


def test_a_run_that_is_stopped_brings_its_checkpoint_home(dask, apart, tmp_path):
    """By Ctrl-C; meanwhile its lock is held here, for other campaigns on this folder."""
    long = config(epochs=30)

    def interrupt():
        wait_for(lambda: [path for name in ("one", "two") for path in (tmp_path / name).rglob("*.pt")])
        assert plan.running(long, apart)
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        outcome = campaign(dask, [long], apart)
    assert (outcome.status, outcome.reason) == (3, "interrupted")
    assert not plan.running(long, apart)
    begun = training.epochs_done(long, apart)
    assert begun > 0
    assert len(events(apart, "stop", long.name)) == 1
    dask.mount(one=tmp_path / "new", two=tmp_path / "newer")
    assert campaign(dask, [long], apart).status == 0
    assert [each["epoch"] for each in events(apart, "start", long.name)] == [0, begun]
    assert records.load(records.path_of(long, apart)).provenance.resumed == 1
    assert not training.checkpoint_of(long, apart).exists()


def test_a_gpu_is_given_to_one_task_at_a_time(dask, shared, capsys):
    """Worker "one" has two threads and one GPU: while that is taken, no run goes there."""
    from distributed import Event

    def hold():
        Event("taken").set()
        Event("done").wait()

    taken, done = (Event(name, client=dask.client) for name in ("taken", "done"))
    holder = dask.client.submit(hold, workers=[dask.workers()["one"]], resources={"GPU": 1})
    taken.wait(timeout=60)
    try:
        configs = [config("static", seed=seed) for seed in range(3)]
        assert campaign(dask, configs, shared, device="auto").status == 0
        assert {each["pid"] for each in events(shared, "start")} == {dask.pid("two")}
        ends = campaign(dask, [config()], shared, device="cuda", time_limit=3)
        assert (ends.status, ends.reason) == (3, "the time is up")
        assert "waiting for workers of the cluster" in capsys.readouterr().out
    finally:
        done.set()
    holder.result()
    ends = campaign(dask, [config()], shared, device="cuda")  # goes to "one" alone, which in truth has none
    if ends.failed:
        assert "device='cuda' is not to be had here" in ends.failed[config().name]
    assert {each["pid"] for each in events(shared, "fail")} <= {dask.pid("one")}
    assert {each["pid"] for each in events(shared, "start", config().name)} <= {dask.pid("one")}


RUNNER = """
import sys
from rigl.campaign import runner
from rigl.training.config import RunConfig
if __name__ == "__main__":
    config = RunConfig(model="lenet-300-100", delta_t=20, density=0.2, epochs=60)
    runner.run([config], results=sys.argv[1], device="cpu", cluster=sys.argv[2])
"""


def test_a_run_whose_runner_is_killed_stops_and_goes_on_by_the_same_command(dask, shared, root):
    long = config(epochs=60)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    other = subprocess.Popen([sys.executable, "-c", RUNNER, shared, dask.address], env=environment)
    wait_for(training.checkpoint_of(long, shared).exists)
    other.kill()
    other.wait()
    wait_for(lambda: events(shared, "stop", long.name) or records.path_of(long, shared).exists())
    assert campaign(dask, [long], shared).status == 0
    first, second = events(shared, "start", long.name)
    assert first["epoch"] == 0 < second["epoch"]
    assert records.load(records.path_of(long, shared)).provenance.resumed == 1


def kill_the_worker_of(dask, run, results, *places):
    wait_for(lambda: any(training.checkpoint_of(run, place).exists() for place in places))
    (start,) = events(results, "start", run.name)
    there = dask.workers()
    (name,) = [n for n in there if start.get("worker") == there[n] or start["pid"] == dask.pid(n)]
    os.kill(dask.pid(name), signal.SIGKILL)


def test_a_worker_killed_in_mid_run_and_its_run_goes_on_elsewhere(dask, shared, capsys):
    long, ticket = config("pruning", epochs=20), config("lottery", epochs=20)
    with meanwhile(lambda: kill_the_worker_of(dask, long, shared, shared)):
        outcome = campaign(dask, [ticket, config("static")], shared)
    assert outcome.status == 0
    first, second = events(shared, "start", long.name)
    assert first["epoch"] == 0 < second["epoch"]
    assert first["pid"] != second["pid"]
    assert "its run goes on from its last epoch" in capsys.readouterr().out
    assert len(events(shared, "died", long.name)) == 1
    alone = training.train(ticket, device="cpu", results=shared / "alone")
    assert state(ticket, shared) == alone.state_sha256
    assert records.load(records.path_of(long, shared)).provenance.resumed == 1
    assert not list(shared.rglob("*.part"))


def test_a_worker_killed_with_its_file_system_and_its_run_begins_anew(dask, apart, tmp_path, capsys):
    """Whichever worker it is, the other one sees nothing of what it did."""
    long, short = config(epochs=20), config("static")
    with meanwhile(lambda: kill_the_worker_of(dask, long, apart, tmp_path / "one", tmp_path / "two")):
        outcome = campaign(dask, [long, short], apart)
    assert outcome.status == 0
    assert "its run begins anew" in capsys.readouterr().out
    alone = training.train(long, device="cpu", results=tmp_path / "alone")
    assert state(long, apart) == alone.state_sha256


def test_a_scheduler_that_dies_ends_the_campaign(processes, tmp_path):
    processes.ensure("two")
    processes.mount(two=tmp_path)

    def kill():
        wait_for(lambda: events(tmp_path, "start"))
        processes.processes["scheduler"].kill()

    with meanwhile(kill), pytest.raises(runner.WorkerError, match="is gone"):
        campaign(processes, [config(epochs=200)], tmp_path)


def test_workers_of_this_machine_and_ctrl_c(tmp_path, root):
    """A terminal's Ctrl-C reaches every process: only the runner heeds it, and nothing is left behind."""
    results = tmp_path / "results"
    arguments = ["run", "table2", "--protocol", "smoke", "--seeds", "0", "--densities", "0.2"]
    arguments += ["--cluster", "local:1", "--device", "cpu", "--results", str(results)]
    process = subprocess.Popen(
        [sys.executable, "-m", "rigl.campaign", *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: list(results.rglob("*.pt")))
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert "stopping after the epochs that are on" in out
    assert "(interrupted); the same command goes on" in out
    assert "Traceback" not in errors
    (stopped,) = events(results, "stop")
    assert not events(results, "died")
    wait_for(lambda: not alive(process.pid))
    assert [path.stem for path in results.rglob("*.pt")] == [stopped["run"]]


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
    """Of workers, of which one sees the campaign's folder and one does not, and of the runner."""
    results, chance = tmp_path / "results", random.Random(0)
    dask.mount(one=results, two=tmp_path / "two")
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

    runner_process = begin()
    # By what is done, not by the clock: a fast machine would be through before all were killed.
    after = chance.randint(5, 40)
    while True:
        with suppress(subprocess.TimeoutExpired):
            runner_process.wait(timeout=0.2)
            break
        if len(events(results, "finish")) < after:
            continue
        after += chance.randint(5, 40)
        victim = next(victims)
        kills[victim] += 1
        if victim == "runner":
            runner_process.kill()
            runner_process.wait()
            runner_process = begin()
        else:
            dask.processes[victim].kill()
            dask.processes[victim].wait()
            dask.ensure("one", "two")
    print(dict(kills))
    assert runner_process.returncode == 0, (tmp_path / "runner.log").read_text()
    assert set(kills) == {"one", "two", "runner"}
    assert store.verify(results) == (200, [])
    assert len(list(results.glob("digits/*"))) == 200
    finished = Counter(each["run"] for each in events(results, "finish"))
    assert set(finished.values()) == {1}
    assert not list(results.rglob("*.part"))


@pytest.mark.slow
def test_the_overhead_is_measured_and_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    found = overhead.measure(runs=20, workers=1)
    assert found["runs"] == 20
    assert 0 < found["runs_per_second"]["low"] <= found["runs_per_second"]["high"]
    path = overhead.store(found)
    assert path.name.startswith("dask-")
    assert "RIGL_RESULTS" not in os.environ


def test_the_number_of_workers_follows_the_runs_that_can_be_done(tmp_path):
    from distributed import Client, LocalCluster

    from rigl.campaign.cluster import Cluster, _adaptive

    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as local,
        Client(local, set_as_default=False) as client,
    ):
        cluster = Cluster(client, where.parse("local:3"), tmp_path, ["cpu"], None)
        cluster.want(5)
        local.adapt(Adaptive=_adaptive(cluster), minimum=1, maximum=3, interval="20ms")
        wait_for(lambda: len(local.scheduler.workers) == 3)
        cluster.want(0)
        wait_for(lambda: len(local.scheduler.workers) == 1)
