"""Records on disk."""

import json
import math
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigl.sparsity.methods import METHODS
from rigl.training import records
from rigl.training.config import RunConfig
from rigl.training.records import COLUMNS, Flops, LayerRecord, Provenance, Record, RecordError


def record(accuracy=90.0, epochs=2, **knobs):
    """A record with the history of so many epochs."""
    config = RunConfig(**knobs)
    return Record(
        name=config.name,
        status="diverged" if accuracy is None else "finished",
        config=config,
        test_accuracy=accuracy,
        validation_accuracy=accuracy,
        history={"train_loss": [0.5] * epochs, "validation_accuracy": [90.12] * epochs},
        density_steps=[0, 10],
        layers=[
            LayerRecord(name="a.weight", shape=(2, 3), density=[0.5, 0.5]),
            LayerRecord(name="b.weight", shape=(3, 3), density=[0.2, 0.4]),
        ],
        parameters=20,
        active_parameters=10,
        updates=1,
        flops=Flops(dense_forward=30, forward=10, training=30, train_ratio=1 / 3, test_ratio=1 / 3),
        state_sha256="0" * 64,
        provenance=Provenance(
            commit="abc",
            clean=True,
            versions={"torch": "2"},
            device="a CPU",
            threads=1,
            precision="float32",
            data_sha256="1" * 64,
            started="2026-01-01T00:00:00+00:00",
            wall_seconds=1.5,
            peak_memory=None,
            resumed=0,
        ),
    )


@settings(max_examples=30)
@given(
    accuracy=st.none() | st.floats(0, 100),
    density=st.floats(0.001, 1),
    method=st.sampled_from(list(METHODS)),
    seed=st.integers(0, 2**31 - 1),
)
def test_what_is_saved_is_loaded(tmp_path_factory, accuracy, density, method, seed):
    folder = tmp_path_factory.mktemp("records")
    mine = record(accuracy, density=density, method=method, seed=seed)
    path = records.save(mine, folder)
    assert path == folder / "digits" / f"{mine.config.name}.json"
    assert records.load(path) == mine


def test_records_made_before_a_field_there_is_can_be_read(tmp_path):
    mine = record(method="lottery").model_copy(update={"source": "pruning_x", "forward_ratio": [1.0, 0.5]})
    path = records.save(mine, tmp_path)
    assert records.load(path) == mine
    fields = json.loads(path.read_text())
    for name in ("source", "forward_ratio"):
        del fields[name]
    for name in ("mean_forward", "counted"):
        del fields["flops"][name]
    path.write_text(json.dumps(fields))
    old = records.load(path)
    assert (old.source, old.forward_ratio, old.flops.counted, old.flops.mean_forward) == (
        None,
        [],
        None,
        None,
    )
    assert old.config == mine.config


def test_a_full_length_record_is_small_and_one_too_large_is_refused(tmp_path):
    path = records.save(record(epochs=250, multiplier=13), tmp_path)
    assert path.stat().st_size < 10_000
    with pytest.raises(RecordError, match="more than 100000"):
        records.save(record(epochs=20_000, multiplier=1000), tmp_path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[:200], "not a valid record"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema_version=2"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "but its config's is"),
        (lambda text: text.replace('"updates": 1', '"updates": "many"'), "not a valid record"),
        (lambda text: text.replace('"updates": 1', '"updates": 1, "extra": 2'), "not a valid record"),
        (lambda text: text.replace('"density": 0.1', '"density": 7'), "density=7"),
        (lambda text: text.replace('"wrn-10-1"', "5"), "model=5"),
        (
            lambda text: re.sub(r'"config": \{.*?\n  \}', '"config": "x"', text, flags=re.S),
            "not a valid record",
        ),
    ],
)
def test_damaged_records_are_named(tmp_path, spoil, words):
    path = records.save(record(), tmp_path)
    text = path.read_text()
    assert spoil(text) != text
    path.write_text(spoil(text))
    for read in (lambda: records.load(path), lambda: list(records.records(tmp_path, strict=True))):
        with pytest.raises(RecordError) as caught:
            read()
        assert path.name in str(caught.value)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    other = records.save(record(seed=1), tmp_path)
    with pytest.warns(UserWarning, match=rf"{path.name}: .*; it is left out$") as warned:
        assert list(records.frame(tmp_path)["path"]) == [other.as_posix()]
    assert len(warned) == 1


OUT_OF_BOUNDS = [
    ({"test_accuracy": 1e9}, "test_accuracy=1000000000.0: Input should be less than or equal to 100"),
    ({"test_accuracy": -1}, "test_accuracy=-1: "),
    ({"test_accuracy": math.nan}, "test_accuracy"),
    ({"test_accuracy": None}, "status='finished' with test_accuracy=None"),
    ({"status": "diverged"}, "status='diverged' with test_accuracy=90.0"),
    ({"validation_accuracy": 100.5}, "validation_accuracy=100.5"),
    ({"history": {}}, "history={}"),
    ({"history": {"train_loss": []}}, "history: 0 epochs of 20"),
    ({"history": {"train_loss": [0.5], "train_accuracy": []}}, "history: 1 epochs of 20"),
    ({"history": {"train_loss": [0.5] * 21}}, "history: 21 epochs of 20"),
    ({"history": {"train_loss": [-0.5]}}, "history.train_loss.0=-0.5"),
    ({"history": {"train_loss": [math.inf]}}, "history.train_loss.0"),
    ({"history": {"train_accuracy": [100.1]}}, "history: train_accuracy above 100 %"),
    ({"density_steps": []}, "density_steps=[]"),
    ({"density_steps": [0, 0]}, "density_steps must increase"),
    ({"density_steps": [10, 0]}, "density_steps must increase"),
    ({"density_steps": [0, 10**9]}, "density_steps must increase and end within the run"),
    ({"density_steps": [0]}, "layers: each must have a density for each of density_steps"),
    ({"forward_ratio": [1.0]}, "forward_ratio must have a value for each"),
    ({"forward_ratio": [1.0, 17.0]}, "forward_ratio.1=17.0"),
    ({"layers": []}, "layers=[]"),
    ({"layers.0.density": [0.5, 17]}, "layers.0.density.1=17"),
    ({"layers.0.density": [-0.1, 0.5]}, "layers.0.density.0=-0.1"),
    ({"layers.0.shape": [0, 3]}, "layers.0.shape.0=0"),
    ({"layers.0.shape": []}, "layers.0.shape=[]"),
    ({"parameters": 0}, "parameters=0"),
    ({"active_parameters": 21}, "active_parameters=21 of 20"),
    ({"updates": -1}, "updates=-1"),
    ({"flops.training": -1.0}, "flops.training=-1.0"),
    ({"flops.dense_forward": 0.0}, "flops.dense_forward=0.0"),
    ({"flops.train_ratio": math.nan}, "flops.train_ratio"),
    ({"flops.test_ratio": 1.1}, "flops.test_ratio=1.1"),
    ({"state_sha256": "0" * 63}, "state_sha256="),
    ({"provenance.wall_seconds": -1.0}, "provenance.wall_seconds=-1.0"),
    ({"provenance.threads": 0}, "provenance.threads=0"),
    ({"provenance.resumed": 10**5000}, "number out of range"),
    ({"name": "x" * 500}, "its name is 'xxx"),
]


@pytest.mark.parametrize(("change", "words"), OUT_OF_BOUNDS)
def test_what_cannot_be_is_damage(tmp_path, change, words):
    path = records.save(record(), tmp_path)
    fields = json.loads(path.read_text())
    for key, value in change.items():
        *places, last = (int(part) if part.isdecimal() else part for part in key.split("."))
        inner = fields
        for place in places:
            inner = inner[place]
        inner[last] = value
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        path.write_text(json.dumps(fields))
    finally:
        sys.set_int_max_str_digits(limit)
    with pytest.raises(RecordError) as caught:
        records.load(path)
    message = str(caught.value).removeprefix(str(path))
    assert words in message
    assert "\n" not in message
    assert len(message) < 300


def test_every_committed_record_is_sound(root):
    found = list(records.records(root / "results", strict=True))
    assert len(found) > 400


def test_a_record_under_another_name_is_refused(tmp_path):
    path = records.save(record(), tmp_path)
    other = path.rename(path.with_name("mine.json"))
    with pytest.raises(RecordError, match=r"mine\.json: contains the record"):
        records.load(other)


def test_frame(tmp_path):
    assert list(records.frame(tmp_path).columns) == list(COLUMNS)
    assert records.frame(tmp_path / "nowhere").empty
    for seed in (0, 1):
        records.save(record(90 + seed, seed=seed), tmp_path)
    records.save(record(None, method="dense"), tmp_path)
    (tmp_path / "published.json").write_text("{}")  # no record: it lies in no data set's folder
    frame = records.frame(tmp_path, method="rigl")
    assert list(frame["test_accuracy"]) == [90, 91]
    assert frame["final_density"].iloc[0] == pytest.approx((6 * 0.5 + 9 * 0.4) / 15)
    assert len(records.frame(tmp_path)) == 3
    with pytest.raises(ValueError, match="'metod' is not a column"):
        records.frame(tmp_path, metod="rigl")


def _save(arguments):
    folder, accuracy = arguments
    records.save(record(accuracy, epochs=20), folder)


def test_two_processes_writing_one_record(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_save, [(tmp_path, 80.0 + n / 4) for n in range(40)]))
    (path,) = (tmp_path / "digits").iterdir()
    assert 80 <= records.load(path).test_accuracy < 90
    assert json.loads(path.read_text())["schema_version"] == 1


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    records.write_whole(path, b"old")
    with pytest.raises(TypeError):
        records.write_whole(path, "text, not bytes")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
