"""One run, trained by two processes that torchrun starts."""

import json
import os
import subprocess
import sys

import pytest

from rigl import records
from rigl.config import RunConfig
from rigl.training import train

SCRIPT = """
import json, os, sys
from rigl import RunConfig, train
from rigl.training import Interrupted
config = RunConfig(**json.loads(sys.argv[1]))
until = int(sys.argv[3])
try:
    record = train(config, device="cpu", results=sys.argv[2], stop=lambda done, total: done == until)
    said = record.state_sha256
except (Interrupted, ValueError) as error:
    said = f"{type(error).__name__}: {error}"
# In one piece: both write into one pipe.
os.write(1, (json.dumps([int(os.environ["RANK"]), said]) + "\\n").encode())
"""


def torchrun(tmp_path, knobs, results, until=-1):
    """What each of two processes said, by rank."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), json.dumps(knobs), str(results), str(until)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert set(said) == {0, 1}
    return said


@pytest.mark.parametrize("method", ["rigl", "lottery"])
def test_two_processes_make_one_record(tmp_path, method):
    """Without batch norm, two processes with half of every batch take the same steps as one, up to
    rounding."""
    knobs = {"model": "lenet-300-100", "method": method, "epochs": 2, "batch_size": 32, "delta_t": 10}
    said = torchrun(tmp_path, knobs, tmp_path / "two")
    found = [record for _, record in records.records(tmp_path / "two")]
    assert len(found) == (2 if method == "lottery" else 1)
    record = records.load(records.path_of(RunConfig(**knobs), tmp_path / "two"))
    assert said == {0: record.state_sha256, 1: record.state_sha256}
    assert record.provenance.processes == 2
    alone = train(RunConfig(**knobs), device="cpu", results=tmp_path / "one")
    for name, values in alone.history.items():
        assert record.history[name] == pytest.approx(values, rel=0.05), name
    assert record.history["train_loss"][0] == pytest.approx(alone.history["train_loss"][0], rel=1e-3)
    assert record.updates == alone.updates
    assert record.flops == alone.flops
    assert record.active_parameters == alone.active_parameters


def test_two_processes_stop_together_and_go_on_bit_for_bit(tmp_path):
    knobs = {"model": "wrn-10-1", "dropout": 0.3, "epochs": 2, "batch_size": 125, "delta_t": 4}
    whole = torchrun(tmp_path, knobs, tmp_path / "whole")
    stopped = torchrun(tmp_path, knobs, tmp_path / "parts", until=1)
    assert all("Interrupted" in text and "after 1 epochs" in text for text in stopped.values())
    assert torchrun(tmp_path, knobs, tmp_path / "parts") == whole
    record = records.load(records.path_of(RunConfig(**knobs), tmp_path / "parts"))
    assert (record.provenance.resumed, record.provenance.processes) == (1, 2)


def test_what_one_process_finds_wrong_all_say(tmp_path):
    knobs = {"model": "lenet-300-100", "distribution": "rigl-erk_d0.1_lenet_smoke_s0_00000000"}
    said = torchrun(tmp_path, knobs, tmp_path / "results")
    assert said[0] == said[1]
    assert said[0].startswith("ConfigError: distribution=")
