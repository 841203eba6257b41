"""What can be set: the notebooks' parameters and the knobs of a run, each with its meaning from where it is
defined."""

from __future__ import annotations

from typing import Any

import pandas as pd
import yaml

from book.report import names
from rigl.training.config import DATASETS, ConfigError, Protocol, RunConfig, protocol
from rigl.training.project import root


def on_colab() -> str:
    """What a notebook on Colab needs before its first cell, as a block of Markdown; it says so where
    `_config.yml` names no repository."""
    url = yaml.safe_load((root() / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    if not url:
        return "*(shown once `_config.yml` names a repository)*"
    lines = [
        f"!git clone --depth 1 {url} rigl-book",
        "%pip install --quiet -e ./rigl-book plotly jinja2 ipywidgets",
        "%cd rigl-book",
    ]
    return "\n".join(["```python", *lines, "```"])


def of_notebook(name: str) -> pd.DataFrame:
    """The parameters of ``notebooks/NAME.ipynb``, as papermill reads them: name, type, default, meaning."""
    from papermill import inspect_notebook

    found = inspect_notebook(str(root() / "notebooks" / f"{name}.ipynb"))
    return pd.DataFrame(
        {
            "Parameter": each["name"],
            "Type": each["inferred_type_name"],
            "Default": each["default"].strip('"'),
            "Meaning": each["help"],
        }
        for each in found.values()
    )


def of_python() -> pd.DataFrame:
    """The knobs of `RunConfig` that the training notebook has no parameter for."""
    given = set(of_notebook("train")["Parameter"])
    return pd.DataFrame(
        {
            "Knob": name,
            "Type": getattr(field.annotation, "__name__", str(field.annotation)),
            "Default": "the protocol's" if name in Protocol.model_fields else str(field.default),
            "Meaning": field.description or "",
        }
        for name, field in RunConfig.model_fields.items()
        if name not in given
    )


def by_protocol() -> pd.DataFrame:
    """What each protocol fills in, a row a knob and a column a protocol and data set; the last row is the
    number of optimiser steps."""
    columns = {}
    for name in reversed(names.PROTOCOLS):
        for dataset in DATASETS:
            try:
                plan = protocol(name, dataset)
            except ConfigError:
                continue  # a protocol is made for some data sets only
            steps = RunConfig(protocol=name, dataset=dataset).total_steps
            knobs = [_short(getattr(plan, knob)) for knob in Protocol.model_fields]
            columns[f"{name}, {names.dataset(dataset)}"] = [*knobs, f"{steps:,}"]
    return pd.DataFrame({"Knob": [*Protocol.model_fields, "optimiser steps"], **columns})


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
