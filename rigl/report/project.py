"""Where the project lies, asked from wherever a notebook happens to run."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The project's folder: ``RIGL_ROOT`` (which the book sets for its kernels), else the nearest
    folder at or above the working directory, and then above this file, that holds ``_config.yml``.

    Papermill runs a notebook in the shell's folder, the book and Jupyter in the notebook's own.
    Raises FileNotFoundError where there is neither.
    """
    if told := os.environ.get("RIGL_ROOT"):
        return Path(told)
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / "_config.yml").is_file():
            return folder
    raise FileNotFoundError(
        f"no _config.yml in {here} or above it, nor above the package: set RIGL_ROOT to the project's folder"
    )
