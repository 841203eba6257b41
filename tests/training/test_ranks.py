"""One run, trained by two processes that torchrun starts."""

import json
import os
import subprocess
import sys

import pytest

from rigl.training import records
from rigl.training.config import RunConfig
from rigl.training.train import train

# Runs one after another in the same two processes: to start these takes longer than all that they do.
SCRIPT = """
import json, os, sys
from rigl import RunConfig, train
from rigl.training.train import Interrupted
for knobs, results, until in json.loads(sys.argv[1]):
    try:
        stop = lambda done, total: done == until
        said = train(RunConfig(**knobs), device="cpu", results=results, stop=stop).state_sha256
    except (Interrupted, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
    # In one piece: both write into one pipe.
    os.write(1, (json.dumps([int(os.environ["RANK"]), said]) + "\\n").encode())
"""
LENET = {"model": "lenet-300-100", "epochs": 2, "batch_size": 32, "delta_t": 10}
WRN = {"model": "wrn-10-1", "dropout": 0.3, "epochs": 2, "batch_size": 125, "delta_t": 4}
UNKNOWN = {"model": "lenet-300-100", "distribution": "rigl-erk_d0.1_lenet_smoke_s0_00000000"}


def torchrun(folder, *jobs):
    """What two processes said of each job, (knobs, name of its folder, epoch to stop at), by rank."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # Beside the script a folder called "rigl" would be taken for the package.
    asked = [(knobs, str(folder / "results" / name), until) for knobs, name, until in jobs]
    done = subprocess.run(
        [*launch, str(script), json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    by_rank = [[words for rank, words in said if rank == each] for each in (0, 1)]
    return list(zip(*by_rank, strict=True))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A folder, under whose ``results`` some runs are trained, and what was said of each, by name."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs = [
        ({**LENET, "method": "rigl"}, "rigl", -1),
        ({**LENET, "method": "lottery"}, "lottery", -1),
        (WRN, "whole", -1),
        (WRN, "parts", 1),
        (UNKNOWN, "unknown", -1),
    ]
    said = torchrun(folder, *jobs)
    return folder, {name: words for (_, name, _), words in zip(jobs, said, strict=True)}


@pytest.mark.parametrize("method", ["rigl", "lottery"])
def test_two_processes_make_one_record(told, tmp_path, method):
    """Without batch norm, two processes with half of every batch take the same steps as one, up to
    rounding."""
    folder, said = told
    config = RunConfig(**LENET, method=method)
    found = [record for _, record in records.records(folder / "results" / method)]
    assert len(found) == (2 if method == "lottery" else 1)
    record = records.load(records.path_of(config, folder / "results" / method))
    assert said[method] == (record.state_sha256, record.state_sha256)
    assert record.provenance.processes == 2
    alone = train(config, device="cpu", results=tmp_path)
    for name, values in alone.history.items():
        assert record.history[name] == pytest.approx(values, rel=0.05), name
    assert record.history["train_loss"][0] == pytest.approx(alone.history["train_loss"][0], rel=1e-3)
    assert record.updates == alone.updates
    assert record.flops == alone.flops
    assert record.active_parameters == alone.active_parameters


def test_two_processes_stop_together_and_go_on_bit_for_bit_in_others(told):
    folder, said = told
    assert all("Interrupted" in text and "after 1 epochs" in text for text in said["parts"])
    assert torchrun(folder, (WRN, "parts", -1)) == [said["whole"]]
    record = records.load(records.path_of(RunConfig(**WRN), folder / "results" / "parts"))
    assert (record.provenance.resumed, record.provenance.processes) == (1, 2)


def test_what_one_process_finds_wrong_all_say(told):
    first, second = told[1]["unknown"]
    assert first == second
    assert first.startswith("ConfigError: distribution=")
