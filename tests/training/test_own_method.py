"""A method is one row: whoever adds one can train, record and plot it."""

from report.sample import record as by_hand

from book.report import accuracy_explorer, figures, runs
from book.report.tables import Setup
from rigl.sparsity.flops import training_flops
from rigl.sparsity.methods import METHODS, Method
from rigl.training import records
from rigl.training.config import RunConfig
from rigl.training.train import train


def small(weight, state, generator):
    """The opposite of RigL's: where the gradient is smallest."""
    return None if weight.grad is None else 1 / (1e-12 + weight.grad.abs())


def test_a_method_added_at_run_time(tmp_path, monkeypatch):
    row = Method("contrary", grow=small, share="gradient")
    monkeypatch.setitem(METHODS, row.name, row)
    knobs = {"model": "lenet-300-100", "density": 0.2, "epochs": 3, "delta_t": 10}
    config = RunConfig(method="contrary", **knobs)
    record = train(config, device="cpu", results=tmp_path)
    assert records.load(records.path_of(config, tmp_path)) == record
    assert record.updates > 2
    rigl = train(RunConfig(method="rigl", **knobs), device="cpu", results=tmp_path)
    assert record.active_parameters == rigl.active_parameters
    assert record.state_sha256 != rigl.state_sha256
    assert record.flops.training == training_flops(
        "contrary", record.flops.dense_forward, record.flops.mean_forward, delta_t=10
    )
    assert figures.densities(record)[1].endswith(".")
    for method in ("contrary", "rigl"):  # plots show the protocol's own knobs
        plain = {"protocol": "smoke", "dataset": "digits", "model": "lenet-300-100", "density": 0.2}
        records.save(by_hand(90.0, method=method, **plain), tmp_path)
    setup = Setup("smoke", "digits", "lenet-300-100", None, runs.load(tmp_path))
    (place,) = accuracy_explorer.places([setup])
    assert {mark["method"] for mark in place["marks"]} == {"contrary", "rigl"}
    assert "contrary" in accuracy_explorer.html([place], "train_flops")
