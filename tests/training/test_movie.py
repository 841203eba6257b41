"""Filming a run changes nothing of it, and shows what its rules say."""

import json
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch

from book.report.mask_movie import film, masks
from rigl.sparsity.schedules import drop_fraction
from rigl.training import movie, records
from rigl.training.config import RunConfig
from rigl.training.records import load, path_of
from rigl.training.train import train

TINY = {"protocol": "smoke", "model": "lenet-300-100", "epochs": 2, "delta_t": 10}


@pytest.mark.parametrize("knobs", [{"method": "rigl"}, {"method": "set", "preset": "google"}])
def test_film_is_the_run_that_is_trained(tmp_path: Path, knobs: dict) -> None:
    config = RunConfig(**TINY, **knobs, distribution="uniform")
    found = movie.film(config, "fc3.weight", device="cpu")
    movie.save(found, tmp_path / "movie.json")
    assert film(tmp_path / "movie.json") == json.loads(json.dumps(found))
    record = train(config, device="cpu", results=tmp_path, progress=False)
    assert found["state_sha256"] == record.state_sha256
    assert found["test_accuracy"] == record.test_accuracy
    assert len(found["frames"]) == 1 + record.updates > 4
    final = records.load_masks(config, tmp_path)["fc3.weight"]
    first = movie.build_run(config, torch.device("cpu")).sparsifier.masks["fc3.weight"]
    views = masks(found)
    assert np.array_equal(views[-1][1], final)
    assert np.array_equal(views[0][1], first.numpy())


def test_unknown_layer() -> None:
    with pytest.raises(KeyError):
        movie.film(RunConfig(**TINY), "no.weight", device="cpu")


def test_committed_film_is_of_a_committed_state_and_follows_the_rules(root: Path) -> None:
    found = film(movie.PATH)
    assert movie.PATH.stat().st_size < 60_000
    config = RunConfig(**found["config"])
    assert config == movie.SHOWN
    assert found["name"] == config.name
    assert found["provenance"]["clean"] is True
    views = masks(found)
    t_end = config.t_end * config.total_steps
    for (_, before), (kept, after), frame in zip(views, views[1:], found["frames"][1:], strict=False):
        count = ceil(round(drop_fraction(frame["step"] - 1, t_end, config.alpha) * before.sum(), 9))
        assert not (kept & ~before).any()
        assert (before & ~kept).sum() == count
        assert (after & ~kept).sum() == count
        assert (kept & after).sum() == kept.sum()
    assert len(views) == 65
    record = load(path_of(config, root / "results"))
    assert record.state_sha256 == found["state_sha256"]
    assert record.test_accuracy == found["test_accuracy"]
