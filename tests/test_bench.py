"""The benchmark runs and its figures hang together; how fast anything is, no test asks."""

import pytest
import torch

from rigl import bench


def test_ratios_follow_from_the_times(capsys):
    found = bench.measure(torch.device("cpu"), model="wrn-10-1", rounds=2, batch=8)
    seconds = found["seconds"]
    assert set(found["ratios"]) == {
        "dense against the plain loop, images a second",
        "RigL against dense, a step, updates included",
        "RigL against dense, whole steps between updates",
        "data and augmentation, share of a dense step",
    }
    for row in (*seconds.values(), *found["ratios"].values()):
        assert row["median"] > 0
    assert found["images_per_second"]["dense"] == pytest.approx(8 / seconds["dense"]["median"])
    assert found["ratios"]["RigL against dense, a step, updates included"]["median"] > 0.9


def test_structured_networks_are_timed_against_dense():
    found = bench.structured(torch.device("cpu"), model="wrn-10-1", rounds=2, batch=4)
    names = ("small-dense", "RigL-struct, uniform", "RigL-struct, erk")
    assert set(found["ratios"]) == {
        f"{name} against dense, wall time of {what}" for name in names for what in ("training", "inference")
    }
    for row in (*found["seconds"].values(), *found["ratios"].values()):
        assert 0 < row["low"] <= row["median"] <= row["high"]


def test_the_update_that_is_timed_is_one():
    device = torch.device("cpu")
    from rigl.config import RunConfig
    from rigl.training import _build

    run = _build(RunConfig(protocol="paper", dataset="cifar10", model="wrn-10-1"), device)
    run.sparsifier.step_count = 99
    assert run.sparsifier.update_due
    run.sparsifier.step_count = 0
    assert not run.sparsifier.update_due


def test_quick_prints_a_table_and_stores_nothing(capsys, root):
    before = sorted((root / "results").rglob("*"))
    assert bench.main(["--quick", "--device", "cpu"]) == 0
    assert "dense against the plain loop" in capsys.readouterr().out
    assert sorted((root / "results").rglob("*")) == before


def test_a_device_that_is_not_there(capsys):
    assert bench.main(["--device", "gpu"]) == 1
    assert "device='gpu'" in capsys.readouterr().err
