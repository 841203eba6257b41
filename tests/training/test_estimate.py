"""How long a run takes, by what was measured before."""

import json

import pytest

from rigl.training import estimate, records
from rigl.training.config import RunConfig
from rigl.training.devices import device_name, resolve_device
from rigl.training.estimate import duration, estimator
from rigl.training.train import train

PAPER = {"protocol": "paper", "dataset": "cifar10"}
TINY = {"model": "lenet-300-100", "epochs": 1, "delta_t": 20, "density": 0.2}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No results but those of a test."""
    monkeypatch.setattr(estimate, "root", lambda: tmp_path / "nowhere")


def benchmark(results, device):
    (results / "bench").mkdir(parents=True)
    found = {"device": device, "model": "wrn-22-2", "threads": 2, "images_per_second": {"dense": 100.0}}
    (results / "bench" / "a.json").write_text(json.dumps(found))
    (results / "bench" / "0.json").write_text(json.dumps({"device": device}))  # of something else there


@pytest.mark.parametrize(
    ("given", "words"), [(0.4, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h"), (1e6, "11.6 days")]
)
def test_durations(given, words):
    assert duration(given) == words


def test_by_the_benchmark_scaled_by_flops(tmp_path):
    benchmark(tmp_path, device_name(resolve_device("cpu")))
    expected = estimator("cpu", tmp_path)
    paper = RunConfig(**PAPER, method="rigl", density=0.1)
    assert expected(paper).seconds == pytest.approx(250 * 45_000 / 100)
    assert expected(paper).basis.startswith("the benchmark of wrn-22-2 on ")
    twice = RunConfig(**PAPER, method="rigl", multiplier=2, validation=0)
    assert expected(twice).seconds == pytest.approx(500 * 50_000 / 100)
    small = RunConfig(**PAPER, method="small-dense", density=0.1)
    assert expected(small).seconds == pytest.approx(0.098 * expected(paper).seconds, rel=0.02)
    large = RunConfig(protocol="paper", dataset="cifar100", method="rigl")  # another network
    assert expected(large).seconds == pytest.approx(250 * 40_000 / 100 * 2.59e9 / 3.15e8, rel=0.01)
    assert expected(large).basis == expected(paper).basis


def test_by_records_of_the_same_model_on_the_same_device_first(tmp_path):
    benchmark(tmp_path, device_name(resolve_device("cpu")))
    dense, static, rigl = (RunConfig(**{**TINY, "method": each}) for each in ("dense", "static", "rigl"))
    spent = {}
    for config in (dense, static, rigl):
        record = train(config, device="cpu", results=tmp_path)
        spent[config.method] = record.provenance.wall_seconds
    expected = estimator("cpu", tmp_path)
    assert expected(rigl).seconds == pytest.approx(spent["rigl"])
    longer = RunConfig(**{**TINY, "epochs": 3, "method": "rigl"})
    assert expected(longer).seconds == pytest.approx(3 * spent["rigl"])
    unknown = RunConfig(**{**TINY, "method": "snfs"})
    assert expected(unknown).seconds == pytest.approx(sorted(spent.values())[1])
    assert expected(dense).basis.startswith("3 runs of lenet-300-100 on ")
    records.path_of(dense, tmp_path).write_text("damaged")
    assert estimator("cpu", tmp_path)(dense).basis.startswith("2 runs")


def test_nothing_where_nothing_is_known(tmp_path):
    benchmark(tmp_path, "another device")
    assert estimator("cpu", tmp_path)(RunConfig(**TINY)) is None
