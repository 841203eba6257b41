"""The estimate on paper: schedules that can be worked out by hand, and figures that come from records."""

import json

import pytest

from book.report import cluster
from book.report.cluster import Task
from rigl.campaign import experiments
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import load_layers
from rigl.training.config import RunConfig
from rigl.training.project import root

CHAIN = [Task("a", 3), Task("b", 2, ("a",)), Task("c", 1), Task("d", 1), Task("e", 2, ("b", "d"))]


def test_a_schedule_worked_out_by_hand() -> None:
    assert cluster.makespan(CHAIN, 1) == 9
    assert cluster.makespan(CHAIN, 2) == cluster.makespan(CHAIN, 64) == 7
    assert cluster.longest_chain(CHAIN) == 7
    apart = [Task(str(index), 2) for index in range(5)]
    assert [cluster.makespan(apart, workers) for workers in (1, 2, 3, 8)] == [10, 6, 4, 2]
    assert cluster.makespan([], 8) == cluster.longest_chain([]) == 0


def test_what_stands_before_what_it_needs() -> None:
    with pytest.raises(ValueError, match="b stands before what it needs"):
        cluster.longest_chain(CHAIN[1:])


def test_a_run_costs_three_dense_passes_an_image() -> None:
    dense = forward_flops(load_layers(root() / "results" / "layers.json")["wrn-22-2 on cifar10"])
    run = RunConfig(protocol="paper", dataset="cifar10", method="rigl", density=0.1, multiplier=2)
    assert cluster.flops(run) == 3 * dense * 45_000 * 500
    small = RunConfig(protocol="paper", dataset="cifar10", method="small-dense", density=0.1)
    assert cluster.flops(small) == pytest.approx(0.1 * 3 * dense * 45_000 * 250)


def test_the_tasks_are_the_campaigns_runs_and_the_studies_trials() -> None:
    tasks = cluster.tables()
    runs = experiments.runs(experiments.TABLES, protocol="paper")
    assert [task.name for task in tasks] == [run.name for run in runs]
    waiting = [run for run in runs if run.method in ("lottery", "rigl-reinit")]
    assert {task.name: task.needs for task in tasks if task.needs} == {
        run.name: (run.source.name,) for run in waiting
    }
    longest = max(task.cost for task in tasks)
    pairs = {run.name: cluster.flops(run) + cluster.flops(run.source) for run in waiting}
    assert cluster.longest_chain(tasks) == max(longest, *pairs.values())
    space, trials = experiments.TUNING, cluster.studies()
    count = len(space.densities) * len(space.distributions)
    assert len(trials) == count * space.trials * len(space.seeds)
    assert cluster.longest_chain(trials) == pytest.approx(space.trials * trials[0].cost)
    assert cluster.makespan(trials, count * len(space.seeds)) == pytest.approx(space.trials * trials[0].cost)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A project with this one's layers, and records of its own, written by what is returned."""
    results = tmp_path / "results"
    (results / "bench").mkdir(parents=True)
    (results / "layers.json").write_bytes((root() / "results" / "layers.json").read_bytes())
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))

    def write(name, **fields):
        (results / "bench" / f"{name}.json").write_text(json.dumps({"device": name, **fields}))

    return write


def test_figures_come_from_the_records(bench) -> None:
    for name, speed in (("a processor", 50.0), ("NVIDIA X", 5000.0)):
        bench(name, model="wrn-22-2", images_per_second={"dense": speed}, load_cifar10_seconds=1.0)
    assert cluster.pause() == 0
    assert cluster.rates().empty
    gpu, cpu = cluster.benchmarks()
    assert [cluster.is_gpu(each) for each in (gpu, cpu)] == [True, False]
    assert cluster.rate(gpu) == pytest.approx(100 * cluster.rate(cpu))
    run = RunConfig(protocol="paper", dataset="cifar10", method="dense")
    (task,) = cluster.timed([Task("dense", cluster.flops(run))], gpu)
    assert task.cost == pytest.approx(45_000 * 250 / 5000 + 1)
    assert "scheduler" not in cluster.verdict(gpu)

    spread = {"median": 4.0, "low": 3.0, "high": 5.0}
    fields = {"workers": 2, "runs": 500, "commit": None, "clean": False, "seconds_to_start": 9.0}
    bench("dask-a-processor", runs_per_second=spread, **fields)
    assert cluster.pause() == 0.25
    assert cluster.timed([Task("a", 0.0)], gpu)[0].cost == 1.25
    assert cluster.rates().loc[0, "Runs a second"] == "4.0"
    assert len(cluster.benchmarks()) == 2
    assert "the scheduler needs 0.25" in cluster.verdict(gpu)
    table = cluster.estimate(gpu).set_index("What")
    hours = table.loc["tables and figures"]
    whole = sum(task.cost for task in cluster.timed(cluster.tables(), gpu)) / 3600
    assert float(hours["On 1, h"].replace(",", "")) == pytest.approx(whole, rel=0.001)
    numbers = [float(hours[key].replace(",", "")) for key in ("On 1, h", "On 8, h", "On 64, h")]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] >= float(hours["Longest chain, h"].replace(",", ""))


def test_this_projects_own_records_can_be_read() -> None:
    assert cluster.benchmarks()
    for benchmark in cluster.benchmarks():
        assert len(cluster.estimate(benchmark)) == 3
    assert len(cluster.costs()) == 2
