"""The project's folder, from whatever folder a notebook runs in."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from rigl.sparsity.shapes import Layer, load_layers
from rigl.training.config import ConfigError, shown


def root() -> Path:
    """The project's folder: ``RIGL_ROOT`` (set by the book for its kernels), else the checkout that contains
    this package, else the nearest folder at or above the working directory with ``_config.yml`` and
    ``notebooks``.

    Papermill runs a notebook in the shell's folder, the book and Jupyter in the notebook's folder. Raises
    FileNotFoundError if there is no such folder.
    """
    if folder := os.environ.get("RIGL_ROOT"):
        return Path(folder)
    here = Path.cwd()
    for place in (Path(__file__).resolve().parents[2], here, *here.parents):
        if (place / "_config.yml").is_file() and (place / "notebooks").is_dir():
            return place
    raise FileNotFoundError(
        f"no _config.yml and notebooks in {here} or above it: set RIGL_ROOT to the project's folder"
    )


def results_folder(name: object) -> Path:
    """The path of the folder of records `name`, relative to the project's folder. Raises ConfigError for a
    path that no folder can have."""
    folder = root() / str(name)
    try:
        folder.stat()
    except FileNotFoundError:
        pass  # training creates it
    except OSError as error:
        raise ConfigError(f"results={shown(str(name))} cannot be a folder: {error.strerror}") from None
    return folder


def model_layers() -> dict[str, list[Layer]]:
    """The layers of the models that the protocols train, ``{"MODEL on DATASET": layers}``."""
    return _load(root() / "results" / "layers.json")


_load = cache(load_layers)
