"""The redistribution player: how layers' densities move while a run trains, beside uniform masks and ERK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from book.report import display, figures, names
from book.report.comparisons import NEAR, settling_step
from book.report.display import short
from book.report.runs import convolutional
from book.report.tables import OWN, Setup, command
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.methods import METHODS
from rigl.training.project import model_layers
from rigl.training.records import Record

# Methods that move weights between layers. Global RigL drops over all layers, but each regrows what it lost.
METHODS_THAT_MOVE = tuple(name for name, rule in METHODS.items() if rule.share or rule.prunes)
REPORTED = (0.1, 0.2)  # densities of the report's runs, shown before any run of ours


def places(setups: Sequence[Setup]) -> list[dict[str, Any]]:
    """Each of `setups` whose layers are known: first those with runs, and with FLOPs that move too.

    Each has its layers (name and shape), by density the distributions beside the runs (each layer's density,
    and forward FLOPs relative to dense), the runs, and how to make them. `flat`: FLOPs are weights, and no
    plot shows them.
    """
    made = [place for setup in setups if (place := _place(setup))]
    return sorted(made, key=lambda place: (not place["runs"], place["flat"]))


def _place(setup: Setup) -> dict[str, Any] | None:
    layers = model_layers().get(f"{setup.model} on {setup.dataset}")
    runs = setup.usual
    runs = runs[runs["method"].isin(METHODS_THAT_MOVE) & (runs["multiplier"] == 1)]
    if layers is None or (runs.empty and setup.protocol != OWN):
        return None
    dense = forward_flops(layers)
    still = {}
    for density in sorted(set(runs["density"])) or REPORTED:
        shares = {kind: layer_densities(layers, density, kind) for kind in ("uniform", "erk")}
        still[f"{density:g}"] = {
            names.masks(kind): {
                "densities": [short(share[layer.name]) for layer in layers],
                "flops": short(forward_flops(layers, share) / dense),
            }
            for kind, share in shares.items()
        }
    order = runs["method"].map(METHODS_THAT_MOVE.index)
    ordered = runs.assign(order=order).sort_values(["density", "order", "distribution", "seed"])
    made = [_run(run, still[f"{run['density']:g}"]) for _, run in ordered.iterrows()]
    return {
        "title": f"{setup.title}, protocol “{setup.protocol}”",
        "layers": [(layer.name, names.shape(layer.shape)) for layer in layers],
        "still": still,
        "runs": made,
        "command": command("figure5", setup),
        "flat": not runs.empty and not convolutional(runs["record"].iloc[0]),
    }


def _run(run: pd.Series, still: dict[str, Any]) -> dict[str, Any]:
    """A run: `steps` at which its layers' `densities` are known, a list a step; forward FLOPs at each,
    relative to dense; what to see in it."""
    record: Record = run["record"]
    frames = [[short(x.density[at]) for x in record.layers] for at in range(len(record.density_steps))]
    return {
        "density": f"{run['density']:g}",
        "setting": names.of(run),
        "seed": str(run["seed"]),
        "record": f"../results/{run['dataset']}/{run['name']}.json",
        "colour": figures.look(run["method"])[0],
        "steps": record.density_steps,
        "epochs": [round(step / record.config.steps_per_epoch, 1) for step in record.density_steps],
        "densities": frames,
        "flops": [short(x) for x in record.forward_ratio or [record.flops.test_ratio] * len(frames)],
        "told": sentence(record, still),
    }


def sentence(record: Record, still: dict[str, Any]) -> str:
    """What to see in a run: when its layers settle, how they end beside ERK, and what that does to its
    cost."""
    config, last = record.config, [layer.density[-1] for layer in record.layers]
    pairs = zip(*(still[names.masks(kind)]["densities"] for kind in ("uniform", "erk")), strict=True)
    beyond = [
        abs(end - uniform) > abs(erk - uniform) and (end - uniform) * (erk - uniform) > 0
        for end, (uniform, erk) in zip(last, pairs, strict=True)
    ]
    told = (
        f"Every layer stays within {NEAR:.0%} of its last density from epoch {settled(record):.0f} of "
        f"{config.total_epochs} on. {sum(beyond)} of {len(last)} layers end further from uniform than ERK is."
    )
    if record.forward_ratio and convolutional(record):
        first, end = record.forward_ratio[0], record.forward_ratio[-1]
        told += f" A forward pass costs {first:.2f} of dense at the start and {end:.2f} at the end."
    return told


def settled(record: Record) -> float:
    """The epoch from which on no layer's density was further than `NEAR` of itself from its last."""
    return settling_step(record) / record.config.steps_per_epoch


def html(found: Sequence[dict[str, Any]]) -> Markup:
    """The player as standalone HTML; it opens with the first run, where training begins."""
    titles = [(index, place["title"]) for index, place in enumerate(found)]
    return display.render("redistribution_player", places=titles, data={"places": found})


def show(setups: Sequence[Setup]) -> None:
    """Display the player of `setups`."""
    display.show(html(places(setups)))
