"""A movie of one layer's mask in a real run, update by update, from the masks in ``results/movie.json``."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from math import ceil, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from book.report import display, figures, names

CLASSES = {  # what the outputs stand for, where the layer shown is the last one
    "fashion-mnist": (
        *("T-shirt", "Trousers", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
}
CELL = 10  # units of the pictures' coordinates; a path's letters are relative to a cell's middle
Film = Mapping[str, Any]
Frame = dict[str, Any]


class Kind(NamedTuple):
    """How weights of one kind are drawn: from where, relative to a cell's middle, the rest of the path, its
    look, and what it means."""

    dx: int
    dy: int
    rest: str
    look: dict[str, str]
    text: str

    def path(self, x: int, y: int) -> str:
        """The SVG path around a cell's middle."""
        return f"M{x + self.dx} {y + self.dy}{self.rest}"


BLUE = {"fill": "none", "stroke": figures.BLUE, "stroke-width": "2"}
RED = {"fill": "none", "stroke": figures.VERMILION, "stroke-width": "2"}
DOT = {"stroke": figures.GREY, "stroke-opacity": ".6", "stroke-width": "1.6", "stroke-linecap": "round"}
KINDS = {
    "kept": Kind(-3, -3, "h6v6h-6z", {"fill": figures.GREY}, "kept"),
    "dropped": Kind(-3, -3, "l6 6m0-6l-6 6", RED, "dropped"),
    "grown": Kind(-4, 0, "a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", {"fill": figures.BLUE}, "grown"),
    "regrown": Kind(-3, 0, "a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", BLUE, "dropped, and grown again at once"),
}
IDLE = Kind(0, 0, "h0", DOT, "inactive")


def film(path: Path | None = None) -> Film:
    """The movie in `path`, the project's own by default."""
    found: Film = json.loads((path or display.folder() / "movie.json").read_text())
    return found


def masks(film: Film) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each frame of `film` (kept, mask): what its drop left active and what is active after it, as bool
    arrays of the layer's shape."""
    shape = tuple(film["shape"])

    def bits(text: str) -> np.ndarray:
        packed = np.frombuffer(b64decode(text), np.uint8)
        return np.unpackbits(packed, count=int(np.prod(shape))).astype(bool).reshape(shape)

    return [(bits(frame["kept"]), bits(frame["mask"])) for frame in film["frames"]]


def banner(film: Film) -> Markup:
    """The mask that `film` ends with, as a strip for a title page: a dot for each active weight."""
    rows, columns = np.nonzero(masks(film)[-1][1])
    height, width = film["shape"]
    across, down = CELL, 6  # narrow rows: a title has little room
    dots = "".join(
        f"M{x * across + across // 2} {y * down + down // 2}h0" for y, x in zip(rows, columns, strict=True)
    )
    return Markup(display.parts.banner(width * across, height * down + 8, dots))


def frames(film: Film) -> list[Frame]:
    """The layer before the first update of `film`, and after each, as plain JSON-able data.

    Counts are of weights: `dropped` and `grown` both have those that were dropped and at once grown again,
    `regrown`; `first` are active and were in the first mask too; `inputs` are input units with an active
    weight. `active` and `paths` have an entry an output unit: its active weights, and by kind the SVG path
    that draws them.
    """
    found = []
    views = masks(film)
    first = before = views[0][1]
    for number, (kept, mask) in enumerate(views):
        gone, new = before & ~kept, mask & ~kept
        kinds = {"kept": kept, "dropped": gone & ~new, "grown": new & ~gone, "regrown": gone & new}
        frame: Frame = {
            "update": number,
            "step": film["frames"][number]["step"],
            "dropped": int(gone.sum()),
            "grown": int(new.sum()),
            "regrown": int((gone & new).sum()),
            "kept": int(kept.sum()),
            "first": int((mask & first).sum()),
            "inputs": int(mask.any(0).sum()),
            "active": mask.sum(1).tolist(),
            "paths": [
                {kind: _path(KINDS[kind], some[row]) for kind, some in kinds.items()}
                for row in range(len(mask))
            ],
        }
        found.append(frame | {"text": _text(film, frame, mask)})
        before = mask
    return found


def _text(film: Film, counts: Frame, mask: np.ndarray) -> str:
    total = f"{int(mask.sum()):,} of {mask.size:,} weights active"
    inputs = f"{counts['inputs']} of {mask.shape[1]} hidden units connected"
    if not counts["update"]:
        return f"Before training: {total}, drawn at random; {inputs}."
    again = f" ({counts['regrown']} of them the very ones just dropped)" if counts["regrown"] else ""
    return (
        f"Update {counts['update']} of {len(film['frames']) - 1}, step {counts['step']:,} of "
        f"{film['total_steps']:,}: {counts['dropped']} dropped, {counts['grown']} grown{again}, "
        f"{counts['kept']} kept; {total}, {counts['first']} of them also at the start; {inputs}."
    )


def _path(kind: Kind, some: np.ndarray) -> str:
    """The weights of one output unit, wrapped into a square, as an SVG path."""
    side = ceil(sqrt(len(some)))
    places = [divmod(int(index), side) for index in np.flatnonzero(some)]
    return "".join(kind.path(CELL * x + CELL // 2, CELL * y + CELL // 2) for y, x in places)


def outputs(film: Film) -> list[str]:
    """The names of the layer's output units."""
    names, count = CLASSES.get(film["config"]["dataset"], ()), film["shape"][0]
    return list(names) if len(names) == count else [f"output {number}" for number in range(count)]


def story(film: Film, found: list[Frame]) -> str:
    """What one sees in the whole film, and where it comes from, in sentences."""
    start, first, last = found[0], found[1], found[-1]
    config, origin = film["config"], film["provenance"]
    record = _record(film)
    known = record.exists() and json.loads(record.read_text())["state_sha256"] == film["state_sha256"]
    changed = "" if origin["clean"] else ", changed since"
    return (
        f"The layer {film['layer']}: each square is an output, each mark in it a weight from one of "
        f"{film['shape'][1]} hidden units; the number is how many of them are active. The first update drops "
        f"{first['dropped']}, the last {last['dropped']}. Of the connections drawn at random "
        f"{last['first']} are active at the end, and the hidden units that are connected have gone from "
        f"{start['inputs']} to {last['inputs']}. "
        f"Run {film['name']}: {names.setting(config['method'], config['distribution'])} at density "
        f"{config['density']:g}, {names.place(config['model'], config['dataset'])}, protocol "
        f"“{config['protocol']}”, seed {config['seed']}, test accuracy {film['test_accuracy']:.2f} %; "
        f"filmed at commit {(origin['commit'] or 'unknown')[:8]}{changed}, {origin['device']}, "
        f"{origin['precision']}." + (" It ended bit for bit as that run's record did." if known else "")
    )


def _record(film: Film) -> Path:
    """Where the record of the run that was filmed lies."""
    return display.folder() / str(film["config"]["dataset"]) / f"{film['name']}.json"


def table(found: list[Frame]) -> pd.DataFrame:
    """The frames as numbers, a row an update."""
    columns = {
        **{"update": "Update", "step": "Step", "dropped": "Dropped", "grown": "Grown"},
        **{"regrown": "Dropped and grown again", "kept": "Kept", "first": "Active at the start too"},
        "inputs": "Hidden units connected",
    }
    return pd.DataFrame(found)[[*columns]].rename(columns=columns)


def html(film: Film) -> Markup:
    """The movie as standalone HTML."""
    found, record = frames(film), _record(film)
    numbers = table(found)
    opening = 1  # an update tells more than the masks before training
    size = film["shape"][1]
    return display.render(
        "mask_movie",
        opening=opening,
        frame=found[opening],
        last=len(found) - 1,
        width=CELL * ceil(sqrt(size)),
        idle={"look": IDLE.look, "path": _path(IDLE, np.ones(size, bool))},
        outputs=outputs(film),
        kinds={name: kind.look for name, kind in KINDS.items()},
        legend=[(kind.look, kind.path(0, 0), kind.text) for kind in (*KINDS.values(), IDLE)],
        story=story(film, found),
        record=display.record_link(record.parent.name, record.stem, "The record.") if record.exists() else "",
        numbers=display.html(numbers, f"Every update of {film['layer']}, in weights."),
        csv=display.csv_link(numbers.to_csv(index=False), "movie.csv"),
        data=[{"text": frame["text"], "active": frame["active"], "paths": frame["paths"]} for frame in found],
    )
