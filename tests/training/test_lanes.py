"""Several runs at once are what each is alone."""

import pytest
import torch

from rigl.training import records
from rigl.training.config import ConfigError, RunConfig
from rigl.training.lanes import train_lanes
from rigl.training.train import train

KNOBS = {"model": "wrn-10-1", "dropout": 0.3, "pool": 2, "epochs": 1, "batch_size": 128, "delta_t": 3}


def outcome(record):
    return record.model_dump(exclude={"provenance"})


@pytest.mark.parametrize("engine", ["eager", "captured"])
def test_a_run_in_a_lane_is_the_run_alone(tmp_path, engine):
    configs = [
        RunConfig(**KNOBS, method=method, seed=seed)
        for method, seed in (("rigl", 0), ("rigl", 1), ("set", 0), ("lottery", 0), ("dense", 2))
    ]
    torch.manual_seed(7)
    before = torch.get_rng_state()
    together = train_lanes(configs, lanes=3, device="cpu", results=tmp_path / "lanes", engine=engine)
    assert [record.config for record in together] == configs
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.backends.cudnn.deterministic
    alone = [train(config, device="cpu", results=tmp_path / "alone", engine=engine) for config in configs]
    assert [*map(outcome, together)] == [*map(outcome, alone)]
    assert all(record.provenance.lanes == 3 for record in together)
    assert len([*records.records(tmp_path / "lanes")]) == 6  # and the pruning run of the lottery ticket


def test_one_that_fails_leaves_the_others_alone(tmp_path):
    configs = [RunConfig(**KNOBS, seed=seed) for seed in (0, 1)]
    bad = RunConfig(**KNOBS, distribution="rigl-erk_d0.1_wrn-10-1_smoke_s0_00000000")
    with pytest.raises(ConfigError, match="no such record"):
        train_lanes([configs[0], bad, configs[1]], lanes=2, device="cpu", results=tmp_path)
    assert {record.config for _, record in records.records(tmp_path)} == set(configs)


def test_each_lane_has_the_threads_of_a_run_alone(tmp_path):
    """A small network trains with one thread, whatever else goes on, and a larger one with all."""
    small, large = RunConfig(epochs=1, model="lenet-300-100"), RunConfig(epochs=1, batch_size=1350)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = train_lanes([small, large, small, large], lanes=2, device="cpu", results=tmp_path)
    finally:
        torch.set_num_threads(before)
    assert [record.provenance.threads for record in found] == [1, 2, 1, 2]


def test_lanes_below_one():
    with pytest.raises(ConfigError, match="lanes=0"):
        train_lanes([RunConfig()], lanes=0)
