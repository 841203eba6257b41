"""Data: where it is looked for, that it is what it should be, and what a batch holds."""

import gzip
import hashlib
import io
import pickle
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from rigl.training import data
from rigl.training.config import DATASETS
from rigl.training.data import DataError, load


def test_digits():
    found = load("digits")
    facts = DATASETS["digits"]
    assert found.train.x.shape == (1500, 8, 8, 1)
    assert (len(found.train), len(found.test)) == (facts.train, facts.test)
    pixels = found.train.x.double() / 255
    assert abs(float(pixels.mean()) - facts.mean[0]) < 0.005
    assert abs(float(pixels.std()) - facts.std[0]) < 0.005
    training, validation = found.split(150)
    assert torch.equal(torch.cat((training.y, validation.y)), found.train.y)
    assert len(validation) == 150
    # As sklearn.datasets.load_digits has them.
    assert found.sha256 == "e5c1791a808563768db6389e4a7537d00275a100b028bbe54b374fd2a37858bf"


def test_pooling_averages_and_rounds():
    found = load("digits").pooled(2)
    source = load("digits").train.x.double().view(1500, 4, 2, 4, 2, 1).mean((2, 4))
    assert found.train.x.shape == (1500, 4, 4, 1)
    assert float((found.train.x - source).abs().max()) <= 0.5


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "cifar100"])
def test_the_real_ones(name, real_data):
    real_data(name)
    found, facts = load(name), DATASETS[name]
    assert (len(found.train), len(found.test), len(found.classes)) == (facts.train, facts.test, facts.classes)
    assert found.train.x.shape[1:] == (*facts.shape[1:], facts.shape[0])
    assert torch.bincount(found.train.y).tolist() == [facts.train // facts.classes] * facts.classes
    mean = torch.from_numpy(found.train.x.numpy().mean((0, 1, 2), dtype=float) / 255)
    assert float((mean - torch.tensor(facts.mean)).abs().max()) < 0.002


def test_a_damaged_file_is_named(tmp_path, real_data):
    good = real_data("fashion-mnist").read_bytes()
    path = tmp_path / "fashion-mnist.npz"
    for bad in (good[:1000], b"", good[:5_000_000] + bytes(4) + good[5_000_004:]):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"fashion-mnist\.npz is damaged"):
            load("fashion-mnist", tmp_path)
        assert path.read_bytes() == bad


def test_another_data_set_under_the_name_is_recognised(tmp_path):
    images = np.zeros((60000, 28, 28), np.uint8)
    np.savez(
        tmp_path / "fashion-mnist.npz",
        **{"train_x": images, "train_y": images[:, 0, 0], "test_x": images[:10000]},
        **{"test_y": images[:10000, 0, 0], "classes": np.arange(10).astype(str)},
    )
    with pytest.raises(DataError, match="damaged"):
        load("fashion-mnist", tmp_path)


def test_debians_package_is_found_by_two_at_once(tmp_path):
    if not data.DEBIAN.is_dir():
        pytest.skip("no Debian package dataset-fashion-mnist on this machine")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(load, ["fashion-mnist"] * 2, [tmp_path] * 2))
    assert [len(each.train) for each in found] == [60000, 60000]
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == [
        "fashion-mnist.npz"
    ]


def cifar_archive(count):
    """A tar in CIFAR-10's published form, of random images."""
    random = np.random.default_rng(0)
    files = {f"data_batch_{i}": count for i in range(1, 6)} | {"test_batch": count}
    contents = {}
    for name, size in files.items():
        rows = {
            "data": random.integers(0, 256, (size, 3072), np.uint8),
            "labels": [i % 10 for i in range(size)],
        }
        contents[name] = pickle.dumps(rows)
    contents["batches.meta"] = pickle.dumps({"label_names": [f"class {i}" for i in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1), contents


def as_arrays(train, test):
    def images(row):
        return row["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    return {
        "train_x": np.concatenate([images(row) for row in train]),
        "train_y": np.concatenate([np.array(row["labels"], np.uint8) for row in train]),
        "test_x": images(test),
        "test_y": np.array(test["labels"], np.uint8),
    }


def test_a_download_from_a_server_on_this_machine(tmp_path, monkeypatch):
    """torchvision's own download, of an archive in the published form; only address and checksums differ."""
    from torchvision.datasets import CIFAR10

    served, root = tmp_path / "served", tmp_path / "root"
    served.mkdir()
    archive, contents = cifar_archive(20)
    (served / CIFAR10.filename).write_bytes(archive)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{CIFAR10.filename}")
        monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive).hexdigest())
        monkeypatch.setattr(
            CIFAR10, "train_list", [(f"data_batch_{i}", md5[f"data_batch_{i}"]) for i in range(1, 6)]
        )
        monkeypatch.setattr(CIFAR10, "test_list", [("test_batch", md5["test_batch"])])
        monkeypatch.setattr(
            CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
        )
        with pytest.raises(DataError, match="not the official data; nothing was stored"):
            load("cifar10", root)
        assert {path.name for path in root.iterdir()} <= {".cifar10.lock"}
        rows = {name: pickle.loads(content) for name, content in contents.items() if "batch_" in name}
        rows["test_batch"] = pickle.loads(contents["test_batch"])
        train = [rows[f"data_batch_{i}"] for i in range(1, 6)]
        monkeypatch.setitem(data.SHA256, "cifar10", data._digest(as_arrays(train, rows["test_batch"])))
        assert len(load("cifar10", root).train) == 100
        server.shutdown()
    with np.load(root / "cifar10.npz") as kept:
        first = pickle.loads(contents["data_batch_1"])["data"][0].reshape(3, 32, 32).transpose(1, 2, 0)
        assert kept["train_x"].shape == (100, 32, 32, 3)
        assert np.array_equal(kept["train_x"][0], first)
        assert list(kept["classes"]) == [f"class {i}" for i in range(10)]
    assert {path.name for path in root.iterdir()} == {".cifar10.lock", "cifar10.npz"}


def test_without_a_network_one_line_says_what_and_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies it was made with
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("RIGL_DATA", str(tmp_path / "d"))
    assert data.main(["cifar10"]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert "cifar10 is missing" in line
    assert str(tmp_path / "d" / "cifar10.npz") in line
    assert "python -m rigl.training.data cifar10" in line
    assert [path.name for path in (tmp_path / "d").iterdir() if path.suffix != ".lock"] == []


def test_command_line(capsys):
    assert data.main(["digits"]) == 0
    assert "1,500 + 297 images" in capsys.readouterr().out
    assert data.main(["mnist"]) == 1
    assert "dataset='mnist' is unknown" in capsys.readouterr().err


def test_test_order_does_not_matter_but_training_order_does(tmp_path, real_data):
    arrays = data._read(real_data("fashion-mnist"))
    shuffled = np.random.default_rng(0).permutation(10000)
    mixed = {**arrays, "test_x": arrays["test_x"][shuffled], "test_y": arrays["test_y"][shuffled]}
    assert data._digest(mixed) == data._digest(arrays)
    relabelled = {**arrays, "test_y": arrays["test_y"][shuffled]}
    assert data._digest(relabelled) != data._digest(arrays)
    reverse = {**arrays, "train_x": arrays["train_x"][::-1], "train_y": arrays["train_y"][::-1]}
    assert data._digest(reverse) != data._digest(arrays)


def test_an_unreadable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="cannot be written"):
        load("fashion-mnist", tmp_path / "file" / "deeper")


def test_arrays_that_are_no_data_set(tmp_path):
    np.save(tmp_path / "cifar10.npy", np.zeros(3))
    (tmp_path / "cifar10.npy").rename(tmp_path / "cifar10.npz")
    with pytest.raises(DataError, match=r"cifar10\.npz is damaged"):
        load("cifar10", tmp_path)
    images = np.zeros((5, 32, 32, 3), np.uint8)
    for labels in (np.zeros(4, np.uint8), np.full(5, 300)):
        arrays = {"train_x": images, "train_y": labels, "test_x": images, "test_y": labels}
        np.savez_compressed(tmp_path / "cifar10.npz", **arrays, classes=np.arange(10).astype(str))
        with pytest.raises(DataError, match="not uint8 images, each with a label"):
            load("cifar10", tmp_path)


def test_zip_files_that_are_no_data_set(tmp_path):
    with zipfile.ZipFile(tmp_path / "cifar10.npz", "w") as file:
        file.writestr("hello.txt", "hello")
    with pytest.raises(DataError, match=r"cifar10\.npz is damaged"):
        load("cifar10", tmp_path)
