"""Masks on disk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigl.training import records
from rigl.training.config import RunConfig
from rigl.training.records import RecordError, load_masks, save_masks

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def some_masks(size=64):
    return {"a.weight": np.eye(size, dtype=bool), "b.weight": np.ones((3, 1, 2), dtype=bool)}


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@settings(max_examples=40)
@given(shapes=st.lists(SHAPES, min_size=1, max_size=5), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_what_is_saved_is_loaded(tmp_path_factory, shapes, seed, share):
    root, random = tmp_path_factory.mktemp("masks"), np.random.default_rng(seed)
    masks = {f"blocks.{index}.weight": random.random(shape) < share for index, shape in enumerate(shapes)}
    config = RunConfig(method="pruning", seed=seed)
    path = save_masks(masks, config, root)
    assert path == root / "masks" / "digits" / f"{config.name}.npz"
    found = load_masks(config, root)
    assert list(found) == list(masks)
    assert same(found, masks)
    assert all(mask.dtype == bool and mask.shape == masks[name].shape for name, mask in found.items())


def test_bits_are_packed_and_the_same_masks_are_the_same_file(tmp_path):
    noise = {"a.weight": np.random.default_rng(0).random((500, 400)) < 0.5}
    config = RunConfig(method="pruning")
    path = save_masks(noise, config, tmp_path / "a")
    assert path.stat().st_size < 500 * 400 / 8 + 1000
    assert path.read_bytes() == save_masks(noise, config, tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("method", "size", "folder"),
    [
        ("pruning", 64, "masks"),
        ("rigl-sm", 64, "masks"),
        ("pruning", 600, ".masks"),
        ("rigl-sm", 600, ".masks"),
        ("rigl", 64, ".masks"),
        ("lottery", 64, ".masks"),
        ("rigl-reinit", 64, ".masks"),
    ],
)
def test_git_keeps_what_is_small_and_what_others_start_from(tmp_path, method, size, folder):
    config = RunConfig(method=method)
    noise = np.random.default_rng(0).random((size, size)) < 0.5
    path = save_masks({"a.weight": noise}, config, tmp_path)
    assert path == tmp_path / folder / "digits" / f"{config.name}.npz"
    assert (path.stat().st_size > records.SMALL) == (size == 600)
    assert same(load_masks(config, tmp_path), {"a.weight": noise})


def test_of_one_run_there_is_one_file(tmp_path):
    """Masks that were small and are large now are not found in their old place."""
    config = RunConfig(method="pruning")
    for size in (64, 600, 64):
        noise = {"a.weight": np.random.default_rng(size).random((size, size)) < 0.5}
        path = save_masks(noise, config, tmp_path)
        assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
        assert same(load_masks(config, tmp_path), noise)


def test_masks_that_are_not_there(tmp_path):
    save_masks(some_masks(), RunConfig(method="pruning"), tmp_path)
    assert load_masks(RunConfig(method="pruning", seed=1), tmp_path) is None
    assert load_masks(RunConfig(method="pruning"), tmp_path / "nowhere") is None


def refused(config, root, path):
    with pytest.raises(RecordError) as caught:
        load_masks(config, root)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a valid file of masks")
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\x03\x04" + bytes(100), b"\x80\x04N.", b"\x93NUMPY"])
def test_a_file_of_something_else_is_named(tmp_path, content):
    config = RunConfig(method="rigl-sm")
    path = save_masks(some_masks(), config, tmp_path)
    path.write_bytes(content)
    refused(config, tmp_path, path)


def test_another_array_file_is_named(tmp_path):
    config = RunConfig(method="rigl-sm")
    path = save_masks(some_masks(), config, tmp_path)
    for arrays in (
        {"bits/a.weight": np.zeros(9, np.uint8)},
        {"bits/a": np.zeros(9), "shape/a": np.array([7])},
    ):
        with path.open("wb") as file:
            np.savez(file, **arrays)
        refused(config, tmp_path, path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    refused(config, tmp_path, path)


@settings(max_examples=150)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_damage_anywhere_is_named_or_does_no_harm(tmp_path_factory, where, flip, cut):
    """A byte changed, or all from it on lost: the masks as they were, or an error that names the file.

    (A zip's directory that lost its last entries is still one: a mask less, which the sparsifier refuses.)
    """
    root, config = tmp_path_factory.mktemp("masks"), RunConfig(method="pruning")
    path = save_masks(some_masks(200), config, root)
    content = bytearray(path.read_bytes())
    place = int(where * len(content))
    content[place] ^= flip
    path.write_bytes(content[:place] if cut else content)
    try:
        found = load_masks(config, root)
    except RecordError:
        refused(config, root, path)
    else:
        assert not cut
        assert same(found, {name: some_masks(200)[name] for name in found})


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    config = RunConfig(method="pruning")
    path = save_masks(some_masks(), config, tmp_path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        save_masks({"a.weight": np.zeros((8, 8), dtype=bool)}, config, tmp_path)
    assert path.read_bytes() == before
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
