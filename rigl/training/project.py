"""Where the project lies, asked from wherever a notebook happens to run."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from rigl.sparsity.shapes import Layer, load_layers
from rigl.training.config import ConfigError, shown


def root() -> Path:
    """The project's folder: ``RIGL_ROOT`` (which the book sets for its kernels), else the checkout that
    this package is part of, else the nearest folder at or above the working directory that holds the book's
    ``_config.yml`` and ``notebooks``.

    Papermill runs a notebook in the shell's folder, the book and Jupyter in the notebook's own.
    Raises FileNotFoundError where there is neither.
    """
    if told := os.environ.get("RIGL_ROOT"):
        return Path(told)
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parents[2], here, *here.parents):
        if (folder / "_config.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(
        f"no _config.yml and notebooks in {here} or above it: set RIGL_ROOT to the project's folder"
    )


def results_folder(name: object) -> Path:
    """The path of a folder of records, relative to the project's own. Raises ConfigError where no folder can
    have it."""
    folder = root() / str(name)
    try:
        folder.stat()
    except FileNotFoundError:
        pass  # training makes it
    except OSError as error:
        raise ConfigError(f"results={shown(str(name))} cannot be a folder: {error.strerror}") from None
    return folder


def model_layers() -> dict[str, list[Layer]]:
    """The layers of the protocols' models, ``{"MODEL on DATASET": layers}``."""
    return _load(root() / "results" / "layers.json")


_load = cache(load_layers)
