"""Data sets as uint8 tensors on the training device.

A data set is stored under ``RIGL_DATA`` (default: the user's cache folder) as NAME.npz, with train_x,
train_y, test_x, test_y and classes. If the file is missing, torchvision downloads the data once.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch.nn import functional as F

from rigl.training.config import DATASETS, OneLineError, shown

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
ARRAYS = ("train_x", "train_y", "test_x", "test_y")
SHA256 = {  # `_digest` of the official data
    "fashion-mnist": "a58d5eecc27babad968a9cdd75ab1338fb7b8d1a7b012675a719365d27a6ea51",
    "cifar10": "eae54778f34d83b461fc64023d7c3c2da2c303672026a9beb0f3dc06df2eccb5",
    "cifar100": "f83dd2e821dae11acec1d0cd3927e5edabb831bf155ba7a0feb7eedc1ebceb16",
}


class DataError(OneLineError, RuntimeError):
    """A missing or damaged data set. The message is one line with its path and what to do."""


@dataclass(frozen=True)
class Images:
    """Images and labels of one split: x uint8 (N, H, W, C), y int64 (N,)."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, part: slice) -> Images:
        return Images(self.x[part], self.y[part])

    def to(self, device: torch.device | str) -> Images:
        return Images(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Dataset:
    """A data set in its official order. mean and std are of pixels in [0, 1], one per channel; `sha256`
    identifies the data."""

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str

    def split(self, validation: int) -> tuple[Images, Images]:
        """Split into (training, validation) images: the last `validation` images are held out."""
        border = len(self.train) - validation
        return self.train[:border], self.train[border:]

    def pooled(self, size: int) -> Dataset:
        """The data set with images average-pooled over `size` x `size` pixels and rounded."""
        if size == 1:
            return self
        return replace(self, train=_pool(self.train, size), test=_pool(self.test, size))

    def to(self, device: torch.device | str) -> Dataset:
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data sets: `root`, else ``RIGL_DATA``, else ``rigl`` in the user's cache folder."""
    found = root or os.environ.get("RIGL_DATA")
    if found:
        return Path(found).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "rigl"


def load(name: str, root: str | Path | None = None) -> Dataset:
    """Load a data set from ``NAME.npz`` under `root`, downloading it first if it is missing.

    Raises ValueError for an unknown name and DataError if the data is not available or damaged.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset={shown(name)} is unknown: choose one of {', '.join(DATASETS)}")
    arrays = _digits() if name == "digits" else _read(_file(name, data_root(root)))
    digest = _digest(arrays)
    if name in SHA256 and digest != SHA256[name]:
        path = data_root(root) / f"{name}.npz"
        raise DataError(
            f"{path} is damaged (sha256 {digest[:12]}..., not {SHA256[name][:12]}...): "
            "remove it to download it again"
        )
    facts = DATASETS[name]
    train, test = (
        Images(
            torch.from_numpy(arrays[f"{part}_x"]).reshape(-1, *facts.shape[1:], facts.shape[0]),
            torch.from_numpy(arrays[f"{part}_y"].astype(np.int64)),
        )
        for part in ("train", "test")
    )
    return Dataset(name, train, test, tuple(map(str, arrays["classes"])), facts.mean, facts.std, digest)


_SHARED: WeakValueDictionary[tuple[Any, ...], Dataset] = WeakValueDictionary()
_LOADING = Lock()


def shared(name: str, root: str | Path | None, pool: int, device: torch.device) -> Dataset:
    """`load`, pooled and on `device`; concurrent runs of one process share a copy."""
    key = name, str(data_root(root)), pool, str(device)
    with _LOADING:
        found = _SHARED.get(key)
        if found is None:
            found = _SHARED[key] = load(name, root).pooled(pool).to(device)
    return found


def _pool(images: Images, size: int) -> Images:
    parts = [
        F.avg_pool2d(part.permute(0, 3, 1, 2).float(), size).round().to(torch.uint8).permute(0, 2, 3, 1)
        for part in torch.split(images.x, 10_000)
    ]
    return Images(torch.cat(parts).contiguous(), images.y)


def _digest(arrays: dict[str, Any]) -> str:
    """A hash of the data. It depends on the order of the training split, which determines the validation
    images, but not on that of the test split, which differs between copies of CIFAR and affects no
    accuracy."""
    digest = hashlib.sha256(np.ascontiguousarray(arrays["train_x"]))
    digest.update(np.ascontiguousarray(arrays["train_y"]))
    pairs = zip(np.ascontiguousarray(arrays["test_x"]), arrays["test_y"], strict=True)
    for each in sorted(hashlib.sha256(x.tobytes() + bytes([y])).digest() for x, y in pairs):
        digest.update(each)
    return digest.hexdigest()


def _digits() -> dict[str, Any]:
    """scikit-learn's digits: the first 1,500 for training, the last 297 for testing. They are read from its
    file, since importing scikit-learn takes longer than training on them. Raises DataError."""
    found = find_spec("sklearn")
    folder = Path((found and found.origin) or "").parent / "datasets" / "data"
    try:
        table = np.loadtxt(folder / "digits.csv.gz", dtype=np.uint8, delimiter=",")
    except FileNotFoundError as error:
        raise DataError(f"the digits of scikit-learn are not available ({error})") from None
    x, y = table[:, :-1].reshape(-1, 8, 8) * np.uint8(15), table[:, -1]
    border = DATASETS["digits"].train
    splits = {"train_x": x[:border], "train_y": y[:border], "test_x": x[border:], "test_y": y[border:]}
    return {**splits, "classes": np.arange(10).astype(str)}


def _read(path: Path) -> dict[str, Any]:
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in (*ARRAYS, "classes")}
        if any(arrays[key].dtype != np.uint8 for key in ARRAYS) or any(
            len(arrays[f"{part}_x"]) != len(arrays[f"{part}_y"]) for part in ("train", "test")
        ):
            raise ValueError("not uint8 images, each with a label")
        return arrays
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, KeyError, OSError, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}): remove it to download it again") from None


def _file(name: str, root: Path) -> Path:
    """The path of NAME.npz under `root`. A missing file is created, by one process at a time."""
    path = root / f"{name}.npz"
    if path.exists():
        return path
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            if not path.exists():
                _fetch(name, path)
    except OSError as error:
        raise DataError(f"{name}: {path} is missing and cannot be written: {error}") from None
    return path


def _fetch(name: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{name}.") as scratch:
        if name == "fashion-mnist" and DEBIAN.is_dir():
            raw = Path(scratch) / "FashionMNIST" / "raw"
            raw.mkdir(parents=True)
            for archive in DEBIAN.glob("*.gz"):
                (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
        try:
            arrays = _by_torchvision(name, scratch)
        except (OSError, RuntimeError) as error:
            looked = f"{path}" + (f" and {DEBIAN}" if name == "fashion-mnist" else "")
            reason = " ".join(str(error).split())
            raise DataError(
                f"{name} is missing: looked for {looked}, and the download failed ({reason}); run "
                f"'python -m rigl.training.data {name}' where there is a network and copy {path.name} there"
            ) from None
        if _digest(arrays) != SHA256[name]:
            raise DataError(f"{name}: the downloaded data is not the official data; nothing was stored")
        partial = Path(scratch) / path.name
        np.savez(partial, **arrays)
        partial.replace(path)


def _by_torchvision(name: str, scratch: str) -> dict[str, Any]:
    from torchvision import datasets

    kind = {"fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}[name]
    arrays: dict[str, Any] = {}
    for part, train in (("train", True), ("test", False)):
        split = getattr(datasets, kind)(scratch, train=train, download=True)
        arrays[f"{part}_x"] = np.asarray(split.data, dtype=np.uint8)
        arrays[f"{part}_y"] = np.asarray(split.targets, dtype=np.uint8)
        arrays["classes"] = np.array(split.classes)
    return arrays


def main(names: list[str]) -> int:
    """``python -m rigl.training.data NAME ...``: download data sets and print where they are."""
    for name in names or [name for name in DATASETS if name != "digits"]:
        try:
            found = load(name)
        except (DataError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        place = "scikit-learn" if name == "digits" else data_root() / f"{name}.npz"
        print(f"{name}: {len(found.train):,} + {len(found.test):,} images in {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
