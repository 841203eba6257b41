"""Masks of finished runs, for the runs that start from them: packed bits, compressed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rigl.sparsity.methods import METHODS
from rigl.training.config import RunConfig
from rigl.training.records import RecordError, write_whole

# What is smaller, and what other runs start from, is worth keeping in git.
SMALL = 32_768

Masks = dict[str, np.ndarray]


def save_masks(masks: Mapping[str, np.ndarray], config: RunConfig, root: str | Path = "results") -> Path:
    """Write ``{name: bool array}`` whole or not at all, and return the path.

    It is ``root/masks/DATASET/NAME.npz``, which git keeps, for small files that other runs start from;
    else ``root/.masks/DATASET/NAME.npz``, which it does not.
    """
    arrays = {}
    for name, mask in masks.items():
        arrays[f"bits/{name}"] = np.packbits(mask.reshape(-1))
        arrays[f"shape/{name}"] = np.array(mask.shape)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    kept = config.method in {rule.source for rule in METHODS.values()} and len(content) <= SMALL
    here, there = paths(config, root) if kept else paths(config, root)[::-1]
    write_whole(here, content)
    there.unlink(missing_ok=True)
    return here


def load_masks(config: RunConfig, root: str | Path = "results") -> Masks | None:
    """The final masks of `config`'s run, ``{name: bool array}``; None where they are not there.

    Raises RecordError, naming the file, where it is damaged.
    """
    path = next((path for path in paths(config, root) if path.exists()), None)
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        found = {}
        for name in dict.fromkeys(key.partition("/")[2] for key in arrays if "/" in key):
            shape = tuple(arrays[f"shape/{name}"])
            bits = np.unpackbits(arrays[f"bits/{name}"], count=int(np.prod(shape)))
            found[name] = bits.astype(bool).reshape(shape)
    except Exception as error:  # whatever numpy and zlib make of a file that is damaged
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path}: not the masks of a run: {reason}") from None
    return found


def paths(config: RunConfig, root: str | Path) -> tuple[Path, Path]:
    """Where the masks of a run lie: the one that git keeps, and the one that it does not."""
    tail = Path(config.dataset) / f"{config.name}.npz"
    return Path(root) / "masks" / tail, Path(root) / ".masks" / tail
