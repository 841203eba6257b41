"""Real event files and real offline W&B runs, read back; records as if nobody had watched."""

import json
import struct
import sys

import pytest

from rigl.campaign.__main__ import main
from rigl.training import records, tracking
from rigl.training.config import ConfigError, RunConfig
from rigl.training.train import Interrupted, train

SCALARS = {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}
SCALARS |= {"density", "flops", "learning_rate", "dropped", "grown"}
STEPS = 43  # an epoch of digits


def config(**knobs):
    return RunConfig(**{"model": "lenet-300-100", "density": 0.2, "epochs": 3, "delta_t": 20, **knobs})


def events(results, run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(tracking.logs_of(run, results))).Reload()


def series(found, name):
    return [(event.step, event.value) for event in found.Scalars(name)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run that nobody watched."""
    return train(config(), device="cpu", results=tmp_path_factory.mktemp("plain"))


def test_tensorboard_has_every_epoch_and_the_record_is_as_without(plain, tmp_path):
    record = train(config(), device="cpu", results=tmp_path, tracker="tensorboard")
    assert record.state_sha256 == plain.state_sha256
    assert (record.config, record.history) == (plain.config, plain.history)
    found = events(tmp_path, record.config)
    assert set(found.Tags()["scalars"]) == SCALARS
    for name, values in record.history.items():
        assert series(found, name) == [
            (STEPS * (epoch + 1), pytest.approx(value)) for epoch, value in enumerate(values)
        ]
    (_, density), *_ = series(found, "density")
    assert density == pytest.approx(record.density, abs=1e-6)
    images = 3 * (1500 - 150)
    assert series(found, "flops")[-1][1] == pytest.approx(record.flops.counted * images)
    assert [rate for _, rate in series(found, "learning_rate")] == pytest.approx([0.1, 0.02, 0.004])
    assert series(found, "dropped") == series(found, "grown")
    assert 0 < sum(value for _, value in series(found, "dropped")) < record.active_parameters * record.updates
    histogram = found.Histograms("layer_densities")[-1]
    shares = [layer.density[-1] for layer in record.layers]
    assert (histogram.step, histogram.histogram_value.num) == (3 * STEPS, 3)
    assert histogram.histogram_value.min == pytest.approx(min(shares))
    assert histogram.histogram_value.sum == pytest.approx(sum(shares))


def test_a_run_that_goes_on_has_no_point_twice(plain, tmp_path):
    run = config()
    with pytest.raises(Interrupted):
        train(run, device="cpu", results=tmp_path, tracker="tensorboard", stop=lambda done, _: done == 2)
    # A point of an epoch that a kill cut short, after its log and before its checkpoint.
    with tracking.watch("tensorboard", run, tmp_path, 2) as watched:
        watched._tracker.log(3 * STEPS, {"train_loss": 99.0}, [1.0])
    record = train(run, device="cpu", results=tmp_path, tracker="tensorboard")
    assert record.provenance.resumed == 1
    assert record.state_sha256 == plain.state_sha256
    found = events(tmp_path, run)
    assert [step for step, _ in series(found, "density")] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert [value for _, value in series(found, "train_loss")] == pytest.approx(record.history["train_loss"])


def test_a_run_that_diverges_is_logged_up_to_there(tmp_path):
    run = config(learning_rate=1e30)
    assert train(run, device="cpu", results=tmp_path, tracker="tensorboard").status == "diverged"
    found = events(tmp_path, run)
    assert "train_loss" not in found.Tags()["scalars"]
    assert [step for step, _ in series(found, "density")] == [STEPS]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_the_log_and_not_the_run(plain, tmp_path):
    """The event file becomes /dev/full: writing to it fails as on a disk that is full."""
    run = config()

    def fill(done, total):
        if done == 1:
            (path,) = tracking.logs_of(run, tmp_path).glob("events*")
            path.unlink()
            path.symlink_to("/dev/full")
        return False

    with pytest.warns(
        UserWarning, match="the tracker failed; the run continues without it: .*No space"
    ) as said:
        record = train(run, device="cpu", results=tmp_path, tracker="tensorboard", stop=fill)
    assert len([each for each in said if "tracker" in str(each.message)]) == 1
    assert record.state_sha256 == plain.state_sha256


def test_a_folder_that_cannot_be_written_ends_the_log_and_not_the_run(plain, tmp_path):
    (tmp_path / ".logs").write_text("")
    for tracker in tracking.TRACKERS:
        with pytest.warns(UserWarning, match="the tracker failed") as said:
            record = train(config(), device="cpu", results=tmp_path, tracker=tracker, again=True)
        assert len([each for each in said if "tracker" in str(each.message)]) == 1
        assert record.state_sha256 == plain.state_sha256


def entries(path):
    """The entries of a W&B file: LevelDB's log format, blocks of 32 KiB, after a header of 7 bytes."""
    content, at, parts = path.read_bytes(), 7, b""
    while at < len(content):
        if 32768 - at % 32768 < 7:  # no room for another entry's head: padding
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def offline_run(folder):
    """(config, history by step) of an offline W&B run."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    settings, rows = {}, []
    for content in entries(path):
        entry = wandb_internal_pb2.Record.FromString(content)
        settings |= {item.key: json.loads(item.value_json) for item in entry.run.config.update}
        row = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in entry.history.item}
        rows += [row] if row else []
    return settings, rows


def test_wandb_offline_has_every_epoch_and_needs_no_network(plain, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # whoever calls out gets nowhere
    record = train(config(), device="cpu", results=tmp_path, tracker="wandb")
    assert record.state_sha256 == plain.state_sha256
    settings, rows = offline_run(tracking.logs_of(record.config, tmp_path))
    assert settings["method"] == "rigl"
    assert settings["density"] == 0.2
    assert [row["_step"] for row in rows] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert set(rows[0]) >= {*SCALARS, "layer_densities.values"}
    for name, values in record.history.items():
        assert [row[name] for row in rows] == pytest.approx(values)
    assert sum(rows[-1]["layer_densities.values"]) == 3


def test_a_tracker_that_is_unknown_or_missing_is_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match=r"tracker='tensorbord' is unknown \(did you mean 'tensorboard'"):
        train(config(), results=tmp_path, tracker="tensorbord")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"tracker='wandb' is not installed: pip install wandb$"):
        train(config(), results=tmp_path, tracker="wandb")
    arguments = ["run", "figure5", "--protocol", "smoke", "--results", str(tmp_path / "x"), "--tracker"]
    for name, words in (("wandb", "is not installed"), ("none", "is unknown")):
        assert main([*arguments, name]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.rglob("*"))


def test_a_campaign_is_watched(tmp_path):
    from rigl.campaign import runner

    runs = [config(epochs=1), config(epochs=1, method="lottery")]
    outcome = runner.run(runs, results=tmp_path, device="cpu", tracker="tensorboard")
    assert outcome.status == 0
    for run in (*runs, runs[1].source):
        assert [step for step, _ in series(events(tmp_path, run), "density")] == [STEPS]
    assert len(records.frame(tmp_path)) == 3
