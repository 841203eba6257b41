"""``python -m rigl.training.movie``: record how one layer's mask changes in a real run, as
``results/movie.json``."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rigl.training import provenance
from rigl.training.config import RunConfig
from rigl.training.data import shared
from rigl.training.devices import device_name, isolated, resolve_device
from rigl.training.engine import choose
from rigl.training.records import write_whole
from rigl.training.run import Run, build_run, fingerprint
from rigl.training.train import threads

PATH = Path(__file__).parents[2] / "results" / "movie.json"
SHOWN = RunConfig(
    protocol="laptop", dataset="fashion-mnist", method="rigl", distribution="uniform", density=0.1
)
LAYER = "fc3.weight"  # 10 x 100: small enough to show every weight


def film(
    config: RunConfig, layer: str, data: str | Path | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Train `config` like `rigl.train`, without writing a record, and film the mask of `layer`.

    Returns plain data: the config, the provenance, `state_sha256` as in a record, and `frames`, one for the
    initial mask and one per update. A frame has the `step`, the positions `kept` active by the update, and
    the `mask` after it, as base64 of the bits of the flattened weight. `data` and `device` are as for
    `train`, and so are the errors; KeyError is raised for an unknown layer.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    commit, clean = provenance.commit()
    where = resolve_device(device)
    dataset = shared(config.dataset, data, config.pool, where)
    training, _ = dataset.split(config.validation)
    with isolated(where, threads(config)):
        run = build_run(config, where)
        camera = _Camera(run, layer)
        with choose(run) as engine:
            for epoch in range(config.total_epochs):
                engine.epoch(training, epoch, camera.look)
            _, accuracy = engine.evaluate(dataset.test)
        count = torch.get_num_threads()
    return {
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "total_steps": config.total_steps,
        "test_accuracy": accuracy,
        "state_sha256": fingerprint(run.hashed_state()),
        "provenance": {
            **{"commit": commit, "clean": clean, "versions": provenance.versions(), "threads": count},
            **{"device": device_name(where), "precision": run.precision, "started": started},
            "data_sha256": dataset.sha256,
        },
        "layer": layer,
        "shape": list(camera.mask.shape),
        "frames": camera.frames,
    }


class _Camera:
    """Inspects a layer after every step and keeps a frame of each update."""

    def __init__(self, run: Run, layer: str) -> None:
        self.sparsifier, self.layer = run.sparsifier, layer
        self.live = dict(run.model.named_parameters())[layer]
        self.updates, self.weight, self.mask = 0, self.live.detach().clone(), self._mask()
        self.frames = [_frame(0, self.mask, self.mask)]

    def look(self) -> None:
        if self.sparsifier.update_count > self.updates:
            # An update changes only the weights that it drops, to 0.
            kept = self.mask & (self.live == self.weight)
            self.updates, self.mask = self.sparsifier.update_count, self._mask()
            self.frames.append(_frame(self.sparsifier.step_count, kept, self.mask))
        self.weight = self.live.detach().clone()

    def _mask(self) -> Tensor:
        return self.sparsifier.masks[self.layer].clone()


def _frame(step: int, kept: Tensor, mask: Tensor) -> dict[str, Any]:
    return {"step": step, "kept": _bits(kept), "mask": _bits(mask)}


def _bits(mask: Tensor) -> str:
    return b64encode(np.packbits(mask.cpu().numpy().ravel())).decode()


def save(found: dict[str, Any], path: str | Path) -> None:
    """Write the result of `film`, one field or frame per line."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items() if key != "frames"]
    frames = ",\n".join("  " + json.dumps(frame) for frame in found["frames"])
    text = "{\n" + ",\n".join([*lines, f' "frames": [\n{frames}\n ]']) + "\n}\n"
    write_whole(Path(path), text.encode())


if __name__ == "__main__":
    save(film(SHOWN, LAYER, device="cpu"), PATH)
    print(PATH)
