"""Whole runs, small and real: on scikit-learn's digits."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from rigl import records
from rigl.config import RunConfig
from rigl.data import DataError
from rigl.training import expected_seconds, isolated, threads, train

SMALL = {"model": "lenet-300-100", "epochs": 3, "delta_t": 20}


def run(tmp_path, **knobs):
    return train(RunConfig(**{**SMALL, **knobs}), device="cpu", results=tmp_path)


def outcome(record):
    """All that two runs of one config must agree in."""
    return {**record.model_dump(exclude={"provenance"})}


@pytest.mark.parametrize("method", ["dense", "small-dense", "static", "set", "rigl"])
@pytest.mark.parametrize("preset", ["repro2021", "google"])
def test_every_method_learns_and_is_recorded(tmp_path, method, preset):
    record = run(tmp_path, method=method, preset=preset, density=0.2)
    assert record.status == "finished"
    assert record.test_accuracy > 70
    assert record.history["train_loss"][-1] < record.history["train_loss"][0]
    assert all(len(values) == 3 for values in record.history.values())
    assert records.load(records.path_of(record.config, tmp_path)) == record
    updates = {"repro2021": 4, "google": 5}[preset] if method in ("set", "rigl") else 0
    assert record.updates == updates
    assert record.density == pytest.approx(0.2 if method in ("static", "set", "rigl") else 1.0, abs=1e-3)
    assert 0 < record.flops.test_ratio <= 1
    assert not list((tmp_path / ".checkpoints").glob("*.pt"))
    for layer in record.layers:
        assert layer.density[0] == layer.density[-1]


def test_same_config_same_bits_and_another_seed_others(tmp_path):
    first = run(tmp_path / "a", model="wrn-10-1", dropout=0.3, epochs=1)
    again = run(tmp_path / "b", model="wrn-10-1", dropout=0.3, epochs=1)
    other = run(tmp_path / "c", model="wrn-10-1", dropout=0.3, epochs=1, seed=1)
    assert outcome(first) == outcome(again)
    assert first.state_sha256 != other.state_sha256


def test_a_finished_run_is_read_not_trained(tmp_path):
    record = run(tmp_path)
    path = records.path_of(record.config, tmp_path)
    stamp = path.stat().st_mtime_ns
    assert run(tmp_path) == record
    assert path.stat().st_mtime_ns == stamp
    again = train(record.config, device="cpu", results=tmp_path, again=True)
    assert outcome(again) == outcome(record)
    assert path.stat().st_mtime_ns != stamp


def test_small_steps_take_one_thread_and_large_ones_all():
    assert threads(RunConfig()) == threads(RunConfig(protocol="laptop", dataset="fashion-mnist")) == 1
    assert threads(RunConfig(protocol="paper", dataset="cifar10")) == torch.get_num_threads()


def test_random_state_and_mode_are_left_as_they_were(tmp_path):
    torch.manual_seed(5)
    before_threads = torch.get_num_threads()
    before = torch.get_rng_state()
    deterministic = torch.backends.cudnn.deterministic
    run(tmp_path, epochs=1)
    assert expected_seconds(RunConfig(**SMALL), "cpu") > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == before_threads
    assert torch.backends.cudnn.deterministic == deterministic


TRAIN = """
import json, sys
from rigl import RunConfig, train
train(RunConfig(**json.loads(sys.argv[1])), device="cpu", results=sys.argv[2])
"""


def start(knobs, results, root):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, json.dumps(knobs), str(results)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_kill_9_and_the_same_command_goes_on_bit_for_bit(tmp_path, root, method):
    knobs = {**SMALL, "method": method, "model": "wrn-10-1", "dropout": 0.3, "epochs": 6, "delta_t": 10}
    whole = run(tmp_path / "whole", **knobs)
    config = whole.config
    checkpoint = tmp_path / "killed" / ".checkpoints" / f"{config.name}.pt"
    process = start(knobs, tmp_path / "killed", root)
    while not checkpoint.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not records.path_of(config, tmp_path / "killed").exists()
    resumed = train(config, device="cpu", results=tmp_path / "killed")
    assert outcome(resumed) == outcome(whole)
    assert resumed.provenance.resumed == 1
    assert whole.provenance.resumed == 0


def interrupted(config, results, monkeypatch, change=lambda: None):
    """A run that dies between its last checkpoint and its record, and is then started again."""
    with monkeypatch.context() as patch:
        patch.setattr(records, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            train(config, device="cpu", results=results)
    change()
    return train(config, device="cpu", results=results)


def test_a_diverged_run_that_dies_before_its_record(tmp_path, monkeypatch):
    config = RunConfig(**{**SMALL, "learning_rate": 1e30})
    whole = train(config, device="cpu", results=tmp_path / "whole")
    resumed = interrupted(config, tmp_path / "died", monkeypatch)
    assert resumed.status == "diverged"
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("content", [b"", b"abc", b"PK" + bytes(200)])
def test_a_damaged_checkpoint_starts_anew_and_says_so(tmp_path, monkeypatch, content):
    config = RunConfig(**{**SMALL, "epochs": 1})
    checkpoint = tmp_path / "died" / ".checkpoints" / f"{config.name}.pt"
    with pytest.warns(UserWarning, match=rf"{config.name}\.pt is damaged"):
        record = interrupted(config, tmp_path / "died", monkeypatch, lambda: checkpoint.write_bytes(content))
    assert record.provenance.resumed == 0
    assert outcome(record) == outcome(train(config, device="cpu", results=tmp_path / "whole"))


def test_a_resumed_run_keeps_its_precision_and_confesses_other_code(tmp_path, monkeypatch):
    config = RunConfig(**{**SMALL, "epochs": 1})
    monkeypatch.setattr("rigl.provenance.commit", lambda: ("a" * 40, True))

    def another_commit_and_machine():
        monkeypatch.setattr("rigl.provenance.commit", lambda: ("b" * 40, True))
        monkeypatch.setattr("rigl.training.resolve_precision", lambda *_: "bf16")
        monkeypatch.setattr("rigl.training.device_name", lambda *_: "another CPU")

    origin = interrupted(config, tmp_path, monkeypatch, another_commit_and_machine).provenance
    assert (origin.commit, origin.clean, origin.resumed) == ("a" * 40, False, 1)
    assert origin.precision == "float32"
    assert origin.device.endswith(" + another CPU")


def test_a_checkpoint_left_beside_its_record_is_cleared(tmp_path):
    record = run(tmp_path)
    left = tmp_path / ".checkpoints" / f"{record.name}.pt"
    left.write_bytes(b"left")
    assert run(tmp_path) == record
    assert not left.exists()


def test_inside_a_run_cudnn_stays_on_and_deterministic():
    with isolated(torch.device("cpu"), 1):
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.deterministic


def test_two_processes_at_once_make_one_record(tmp_path, root):
    processes = [start(SMALL, tmp_path, root) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    config = RunConfig(**SMALL)
    record = records.load(records.path_of(config, tmp_path))
    assert [path.name for path in (tmp_path / "digits").iterdir()] == [f"{config.name}.json"]
    assert outcome(record) == outcome(run(tmp_path / "alone"))


def test_a_loss_that_is_no_number_ends_the_run_with_a_record(tmp_path):
    record = run(tmp_path, learning_rate=1e30, epochs=5)
    assert record.status == "diverged"
    assert record.test_accuracy is None
    assert len(record.history["train_loss"]) < 5
    assert record.history["train_loss"][-1] is None
    last = run(tmp_path / "last", learning_rate=1e30, epochs=1, batch_size=1350)  # a single step
    assert (last.status, last.test_accuracy) == ("diverged", None)
    path = records.path_of(record.config, tmp_path)
    assert "NaN" not in path.read_text()
    assert records.load(path) == record
    assert list(records.frame(tmp_path)["status"]) == ["diverged"]


def test_all_images_can_be_trained_on(tmp_path):
    record = run(tmp_path, validation=0, epochs=1)
    assert record.validation_accuracy is None
    assert set(record.history) == {"train_loss", "train_accuracy"}


def test_small_dense_is_narrow(tmp_path):
    record = run(tmp_path, method="small-dense", model="wrn-10-1", density=0.1, epochs=1)
    assert record.layers[0].shape == (5, 1, 3, 3)
    assert record.parameters == record.active_parameters < 10_000
    assert record.flops.train_ratio == pytest.approx(record.flops.test_ratio)


def test_bf16_where_it_is_asked_for(tmp_path):
    record = run(tmp_path, precision="bf16", epochs=1)
    assert record.provenance.precision == "bf16"
    assert record.config.run_id != RunConfig(**{**SMALL, "epochs": 1}).run_id


def test_missing_data_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("rigl.data.DEBIAN", tmp_path / "nowhere")
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies it was made with
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DataError, match="fashion-mnist is missing"):
        train(
            RunConfig(protocol="laptop", dataset="fashion-mnist"),
            device="cpu",
            results=tmp_path / "results",
            data=tmp_path / "data",
        )
    assert not list((tmp_path / "results").glob("*/*.json"))


def test_real_fashion_mnist(tmp_path, real_data):
    """An epoch of the real thing: above 75 % is out of reach of anything that does not learn."""
    real_data("fashion-mnist")
    config = RunConfig(protocol="laptop", dataset="fashion-mnist", density=0.05, epochs=1)
    record = train(config, device="cpu", results=tmp_path)
    assert record.test_accuracy > 75
    assert record.updates == 3
    assert record.flops.test_ratio == pytest.approx(0.05, abs=1e-4)


def test_real_cifar10_steps(real_data):
    """A few steps of WRN-10-1 on real CIFAR-10 lower the loss."""
    from rigl import training
    from rigl.data import batches, load

    real_data("cifar10")
    config = RunConfig(protocol="laptop", dataset="cifar10")
    dataset = load("cifar10")
    run = training._build(config, torch.device("cpu"))
    x, y = next(batches(dataset.train[:128], 128, mean=dataset.mean, std=dataset.std))
    losses = [float(training._step(run, x, y)[0]) for _ in range(8)]
    assert losses[-1] < losses[0]
