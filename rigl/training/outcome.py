"""What came of a run: its record."""

from __future__ import annotations

from typing import Any

from rigl.sparsity.flops import forward_flops, training_flops
from rigl.sparsity.methods import METHODS
from rigl.training import provenance
from rigl.training.data import Dataset
from rigl.training.records import Flops, LayerRecord, Provenance, Record
from rigl.training.run import Run, Start, fingerprint, full_layers


def record_of(run: Run, dataset: Dataset, done: dict[str, Any], test: float | None, start: Start) -> Record:
    """The record of a run that is over; `done` as `rigl.training.train` keeps it, and the `test` accuracy in
    percent, None where the run diverged."""
    config = run.config
    parameters = sum(p.numel() for p in run.model.parameters())
    inactive = sum(mask.numel() - int(mask.sum()) for mask in run.sparsifier.masks.values())
    history: dict[str, list[float | None]] = done["history"]
    flops = flops_of(run, start.source)
    return Record(
        name=config.name,
        status="diverged" if test is None else "finished",
        config=config,
        test_accuracy=test,
        validation_accuracy=history["validation_accuracy"][-1] if config.validation else None,
        history=history,
        density_steps=done["density_steps"],
        forward_ratio=[round(forward / flops.dense_forward, 6) for forward in done["forward"]],
        source=start.source.name if start.source else None,
        source_masks=fingerprint(start.masks) if start.masks else None,
        layers=[
            LayerRecord(name=layer.name, shape=layer.shape, density=list(density))
            for layer, density in zip(run.layers, zip(*done["densities"], strict=True), strict=True)
        ],
        parameters=parameters,
        active_parameters=parameters - inactive,
        updates=run.sparsifier.update_count,
        flops=flops,
        state_sha256=fingerprint(run.state_dict()),
        provenance=Provenance(
            **done["origin"],
            data_sha256=dataset.sha256,
            started=done["started"],
            wall_seconds=round(done["seconds"], 2),
            peak_memory=provenance.peak_memory(run.device),
            resumed=done["resumed"],
        ),
    )


def flops_of(run: Run, source: Record | None) -> Flops:
    """What a run cost, with that of the run that it started from where its method is to bear it."""
    config, ledger = run.config, run.ledger
    dense = forward_flops(full_layers(config))
    mean = ledger.forward / ledger.steps
    before = source.flops if source and METHODS[config.method].pays_source else None
    training = training_flops(
        config.method, dense, mean, delta_t=config.delta_t, source=before.training if before else 0.0
    )
    counted = ledger.training / ledger.steps
    if before:
        counted += before.training if before.counted is None else before.counted
    forward = run.forward_flops()
    return Flops(
        dense_forward=dense,
        forward=forward,
        training=training,
        train_ratio=config.multiplier * training / (3 * dense),
        test_ratio=forward / dense,
        mean_forward=mean,
        counted=counted,
    )
