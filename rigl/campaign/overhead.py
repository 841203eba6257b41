"""How many runs a second a campaign gets through on Dask where the runs themselves take no time."""

from __future__ import annotations

import io
import itertools
import json
import os
import tempfile
import time
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from rigl.campaign import runner
from rigl.campaign.clock import Expected
from rigl.training import provenance, records
from rigl.training.config import RunConfig
from rigl.training.devices import device_name, slug
from rigl.training.project import root
from rigl.training.train import train

TINY: dict[str, Any] = {"model": "lenet-300-100", "epochs": 1, "method": "dense"}
PARTS = 5


def measure(runs: int = 500, workers: int = 2) -> dict[str, Any]:
    """Send `runs` to `workers` processes that share no folder with this one, and whose own folder holds the
    records already: each is read there, sent, checked and written here.

    Seconds until the first run is given out, and runs a second from then on, as the median of a few parts
    with their quartiles. Raises WorkerError.
    """
    configs = [RunConfig(**TINY, seed=seed) for seed in range(runs)]
    given: list[float] = []

    def expect(_: RunConfig) -> Expected:
        """Asked for whenever a run is given out."""
        given.append(time.perf_counter())
        return Expected(0.0, 1, "nothing to do")

    before = os.environ.get("RIGL_RESULTS")
    with tempfile.TemporaryDirectory() as folder:
        there, here = Path(folder, "there"), Path(folder, "here")
        made = train(configs[0], device="cpu", results=there, progress=False)
        for config in configs:
            records.save(made.model_copy(update={"config": config, "name": config.name}), there)
        os.environ["RIGL_RESULTS"] = str(there)
        try:
            begin = time.perf_counter()
            with redirect_stdout(io.StringIO()):
                runner.run(configs, results=here, device="cpu", expect=expect, cluster=f"local:{workers}")
        finally:
            os.environ.pop("RIGL_RESULTS")
            if before is not None:
                os.environ["RIGL_RESULTS"] = before
    cuts = [given[len(given) * part // PARTS - (part == PARTS)] for part in range(PARTS + 1)]
    size = len(given) / PARTS
    rates = [size / (b - a) for a, b in itertools.pairwise(cuts)]
    low, _, high = quantiles(rates, n=4, method="inclusive")
    commit, clean = provenance.commit()
    return {
        "device": device_name(torch.device("cpu")),
        "workers": workers,
        "runs": len(given),
        "commit": commit,
        "clean": clean,
        "versions": {**provenance.versions(), "distributed": version("distributed")},
        "seconds_to_start": given[0] - begin,
        "runs_per_second": {"median": median(rates), "low": low, "high": high},
    }


def store(found: dict[str, Any]) -> Path:
    """Write a measurement into the project's ``results/bench`` and return its path."""
    path = root() / "results" / "bench" / f"dask-{slug(torch.device('cpu'))}.json"
    records.write_whole(path, (json.dumps(found, indent=1) + "\n").encode())
    return path
