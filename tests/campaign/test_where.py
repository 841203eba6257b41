"""Which cluster is asked for, and what is said of one that cannot be had."""

import sys

import pytest

from rigl.campaign import runner, where
from rigl.campaign.cli import main
from rigl.training.config import ConfigError

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


def test_the_job_that_slurm_would_get(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text(SLURM)
    found = where.parse(str(path))
    assert found.jobs == (8, 8)
    with where.connect(found, ["cuda"]) as cluster:
        script = cluster.job_script().splitlines()
        command = script[-2] if not script[-1] else script[-1]
        assert f"distributed.cli.dask_worker {cluster.scheduler_address} " in command
    for line in ("-p gpu", "--cpus-per-task=4", "--mem=15G", "-t 12:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in script
    assert command.startswith(sys.executable)
    assert "--resources GPU=1" in command
    assert "--nthreads 4" in command
    path.write_text(SLURM.replace("jobs: 8", "adapt: {minimum_jobs: 0, maximum_jobs: 64}"))
    assert where.parse(str(path)).jobs == (0, 64)
    path.write_text(SLURM.replace("worker_extra_args", "# "))
    with pytest.raises(ConfigError, match="device cuda needs worker_extra_args"):
        where.connect(where.parse(str(path)), ["cuda"])
    path.write_text(SLURM.replace("cores: 4\n", ""))
    with pytest.raises(ConfigError, match=r"slurm\.yaml: You must specify how much cores"):
        where.connect(where.parse(str(path)), ["cpu"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("queue", "queeu"), r"unknown parameter 'queeu' \(did you mean 'queue'\?\)"),
        (("jobs: 8", ""), "say either 'jobs: N' or 'adapt:"),
        (("jobs: 8", "jobs: 8\nadapt: {minimum_jobs: 1, maximum_jobs: 2}"), "say either"),
        (("jobs: 8", "jobs: eight"), "whole numbers from 1 on"),
        (("jobs: 8", "jobs: 0"), "whole numbers from 1 on"),
        (("jobs: 8", "adapt: {minimum_jobs: 3, maximum_jobs: 2}"), "no more at least than at most"),
        (("jobs: 8", "adapt: {maximum: 2}"), "adapt needs minimum_jobs and maximum_jobs"),
        (("jobs: 8", "jobs: [8"), "cannot be read"),
        ((SLURM, "- 8"), "should say 'name: value'"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, change, reason):
    path = tmp_path / "slurm.yaml"
    path.write_text(SLURM.replace(*change))
    with pytest.raises(ConfigError, match=reason) as caught:
        where.parse(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["local", "local:0", "local:two", "8786", "tcp://here", "slurm.txt", "no.yaml", ""]
)
def test_a_wrong_cluster_is_one_clear_line(text, tmp_path, capsys):
    arguments = ["run", "table2", "--protocol", "smoke", "--results", str(tmp_path), "--cluster", text]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert repr(text) in said.err
    assert said.out == ""
    assert main([*arguments[:-1], "local:2", "--workers", "2"]) == 2
    assert "without --cluster" in capsys.readouterr().err


def test_workers_of_this_machine_share_no_gpu():
    with pytest.raises(ConfigError, match="local:3 needs a GPU for each worker, and cuda:0,cuda:1 is fewer"):
        where.connect(where.parse("local:3"), ["cuda:0", "cuda:1"])


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch):
    from rigl.campaign import cluster

    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with pytest.raises(runner.WorkerError, match=r"no Dask scheduler is to be had at tcp://127\.0\.0\.1:1 "):
        cluster.join("tcp://127.0.0.1:1", results=tmp_path, devices=["cpu"])


def test_without_dask(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = ["run", "table2", "--protocol", "smoke", "--results", str(tmp_path)]
    assert main([*arguments, "--cluster", "local:2"]) == 2
    assert capsys.readouterr().err == '--cluster needs distributed: pip install -e ".[cluster]"\n'
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    assert main([*arguments, "--cluster", "slurm.yaml"]) == 2
    assert "needs distributed and dask-jobqueue:" in capsys.readouterr().err


def test_nothing_of_dask_is_imported_unasked(python, tmp_path):
    program = (
        "import sys; from rigl.campaign import cli, runner; print({'dask', 'distributed'} & {*sys.modules})"
    )
    assert python("-c", program, cwd=tmp_path, check=True).stdout == "set()\n"
