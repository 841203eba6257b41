"""A run resumes from a checkpoint that is whole and its own, and from no other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rigl.training import checkpoints, records
from rigl.training.checkpoints import CheckpointError, checkpoint_of, epochs_done
from rigl.training.config import RunConfig
from rigl.training.train import Interrupted, train

CONFIG = RunConfig(model="lenet-300-100", epochs=2, delta_t=20)


def interrupted(results, config=CONFIG):
    """The checkpoint of a run that was stopped after an epoch."""
    with pytest.raises(Interrupted):
        train(config, device="cpu", results=results, stop=lambda done, _: done == 1)
    return checkpoint_of(config, results)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return interrupted(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The record of the run that nothing happened to."""
    return train(CONFIG, device="cpu", results=tmp_path_factory.mktemp("finished"))


def load(path):
    return checkpoints.load(path, CONFIG, "cpu")


def test_a_whole_one_is_loaded(checkpoint):
    assert load(checkpoint)["done"]["epoch"] == 1
    assert epochs_done(CONFIG, checkpoint.parents[1]) == 1


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_gets_through(checkpoint, tmp_path_factory, where, bit):
    content = bytearray(checkpoint.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its hash"):
        load(path)


@given(where=st.floats(0, 1, exclude_max=True), length=st.sampled_from([512, 4096]), kind=st.integers(0, 2))
def test_no_zeroed_page_torn_write_or_appended_byte_gets_through(
    checkpoint, tmp_path_factory, where, length, kind
):
    content = bytearray(checkpoint.read_bytes())
    begin = int(where * len(content)) // length * length
    if kind == 0:
        content[begin : begin + length] = b"\xff" * len(content[begin : begin + length])
    elif kind == 1:
        del content[begin:]
    else:
        content += bytes(1 + begin % 7)
    path = tmp_path_factory.mktemp("torn") / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its hash"):
        load(path)


@pytest.mark.parametrize("where", [0.01, 0.3, 0.6, 0.99])
def test_a_run_with_a_flipped_bit_starts_over_and_ends_the_same(tmp_path, finished, where):
    path = interrupted(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    assert epochs_done(CONFIG, tmp_path) == 0
    with pytest.warns(UserWarning, match=r"does not match its hash\): training starts over$") as caught:
        record = train(CONFIG, device="cpu", results=tmp_path)
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    assert record.provenance.resumed == 0
    assert record.model_dump(exclude={"provenance"}) == finished.model_dump(exclude={"provenance"})


@pytest.mark.parametrize("epoch", [99, -3, 0, 2, 3, True, 1.0, "1", None])
def test_epochs_that_cannot_be_start_the_run_over(tmp_path, finished, epoch):
    """Two epochs of a run of two could be, but not with the history of one."""
    path = interrupted(tmp_path)
    state = load(path)
    state["done"]["epoch"] = epoch
    checkpoints.save(state, path)
    assert epochs_done(CONFIG, tmp_path) == 0
    with pytest.warns(UserWarning, match=rf"it says that {epoch!r} of 2 epochs are done\): training starts"):
        record = train(CONFIG, device="cpu", results=tmp_path)
    assert record.provenance.resumed == 0
    assert record.state_sha256 == finished.state_sha256


def test_another_runs_checkpoint_under_its_name_is_not_taken(tmp_path, finished):
    other = RunConfig(**{**CONFIG.model_dump(), "seed": 1})
    path = interrupted(tmp_path, other).rename(checkpoint_of(CONFIG, tmp_path))
    with pytest.raises(CheckpointError, match=f"it belongs to {other.name}"):
        load(path)
    with pytest.warns(UserWarning, match=f"belongs to {other.name}"):
        assert train(CONFIG, device="cpu", results=tmp_path).state_sha256 == finished.state_sha256


@pytest.mark.parametrize("state", [[], {"name": CONFIG.name}, {"name": CONFIG.name, "done": {"epoch": 1}}])
def test_a_sound_file_that_is_no_checkpoint(tmp_path, state):
    checkpoints.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="it is not a checkpoint: ") as caught:
        load(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_start_the_run_over(tmp_path, finished):
    """As after an update of this code: the file is whole, but the model is not the same."""
    path = interrupted(tmp_path)
    state = load(path)
    state["run"]["model"]["fc1.weight"] = torch.zeros(3, 3)
    checkpoints.save(state, path)
    with pytest.warns(UserWarning, match="RuntimeError: Error.* in loading state_dict.*training starts over"):
        record = train(CONFIG, device="cpu", results=tmp_path)
    assert record.state_sha256 == finished.state_sha256
    assert records.load(records.path_of(CONFIG, tmp_path)) == record
