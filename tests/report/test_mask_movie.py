"""The film as frames, as a page and as widgets, from masks made by hand."""

import json
import re
from base64 import b64encode

import numpy as np

from book.report import mask_movie

START = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
KEPT = np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool)
END = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], bool)


def bits(mask):
    return b64encode(np.packbits(mask)).decode()


FILM = {
    "name": "<i>run</i>",
    "config": {
        **{"dataset": "<b>set</b>", "method": "rigl", "distribution": "uniform", "density": 0.375},
        **{"model": "m", "protocol": "laptop", "seed": 3},
    },
    "total_steps": 1200,
    "test_accuracy": 88.5,
    "state_sha256": "0",
    "provenance": {"commit": "0123456789", "clean": False, "device": "a chip", "precision": "float32"},
    "layer": "</script><script>alert(1)</script>",
    "shape": [2, 4],
    "frames": [
        {"step": 0, "kept": bits(START), "mask": bits(START)},
        {"step": 100, "kept": bits(KEPT), "mask": bits(END)},
    ],
}


def test_frames_count_what_moved() -> None:
    first, last = mask_movie.frames(FILM)
    assert (first["dropped"], first["grown"], first["kept"], first["active"]) == (0, 0, 3, [2, 1])
    assert first["text"] == (
        "Before training: 3 of 8 weights active, drawn at random; 3 of 4 hidden units connected."
    )
    assert (last["dropped"], last["grown"], last["regrown"], last["kept"]) == (2, 2, 1, 1)
    assert (last["first"], last["inputs"], last["active"]) == (2, 3, [2, 1])
    assert last["text"] == (
        "Update 1 of 1, step 100 of 1,200: 2 dropped, 2 grown (1 of them the very ones just dropped), "
        "1 kept; 3 of 8 weights active, 2 of them also at the start; 3 of 4 hidden units connected."
    )


def test_every_weight_is_drawn_once_and_where_it_is() -> None:
    _, last = mask_movie.frames(FILM)
    places = {0: (5, 5), 1: (15, 5), 2: (5, 15), 3: (15, 15)}  # four inputs wrap into a square of two by two
    expected = [
        {"kept": [0], "regrown": [1], "dropped": [], "grown": []},
        {"kept": [], "regrown": [], "dropped": [3], "grown": [2]},
    ]
    for paths, kinds in zip(last["paths"], expected, strict=True):
        for kind, inputs in kinds.items():
            assert paths[kind] == "".join(mask_movie.KINDS[kind].path(*places[at]) for at in inputs)


def test_kinds_differ_in_shape_and_colour() -> None:
    kinds = mask_movie.KINDS.values()
    looks = {(kind.path(0, 0), kind.look.get("fill") == "none") for kind in kinds}
    assert len(looks) == len(mask_movie.KINDS)
    assert len({tuple(kind.look.items()) for kind in kinds}) == len(mask_movie.KINDS)


def test_page_is_escaped_and_opens_drawn() -> None:
    page = mask_movie.html(FILM)
    assert "<script>alert" not in page
    assert "<i>run" not in page
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert [frame["text"] for frame in data] == [frame["text"] for frame in mask_movie.frames(FILM)]
    assert mask_movie.frames(FILM)[1]["paths"][1]["dropped"] in page
    assert "output 0" in page
    assert "commit 01234567, changed since" in page
    assert "bit for bit" not in page


def test_story_and_table_follow_the_film() -> None:
    found = mask_movie.frames(FILM)
    assert "drops 2, the last 2" in mask_movie.story(FILM, found)
    assert mask_movie.table(found)["Dropped"].tolist() == [0, 2]


def test_the_committed_film_names_its_outputs_and_its_record() -> None:
    film = mask_movie.film()
    assert len(mask_movie.outputs(film)) == 10
    assert "Sneaker" in mask_movie.outputs(film)
    found = mask_movie.frames(film)
    assert "bit for bit" in mask_movie.story(film, found)
    assert {sum(frame["active"]) for frame in found} == {100}
    assert found[-1]["inputs"] < found[0]["inputs"]  # the page's words: connections gather on fewer units
    assert found[-1]["dropped"] < found[1]["dropped"]
