"""The worked update, stage by stage, against the rules computed here by sorting."""

import json
import re
from math import ceil

import numpy as np
import pytest

from book.report import update_example

EXAMPLE = update_example.example()
TABLE = update_example.stage_table(EXAMPLE)
WEIGHT, MASK = np.array(EXAMPLE["weight"]), np.array(EXAMPLE["mask"], bool)


def positions(stage, *kinds):
    return {index for index, kind in enumerate(stage["kinds"]) if kind in kinds}


@pytest.mark.parametrize("method", TABLE)
@pytest.mark.parametrize("fraction", TABLE["rigl"])
def test_stages_follow_the_rules(method: str, fraction: str) -> None:
    before, drop, grow, after = TABLE[method][fraction]
    active = set(np.flatnonzero(MASK))
    count = ceil(round(float(fraction) * len(active), 9))
    size, score = abs(WEIGHT).ravel(), np.array(EXAMPLE["methods"][method]["score"]).ravel()
    dropped = set(sorted(active, key=lambda index: size[index])[:count])
    candidates = set(range(MASK.size)) - (active - dropped)
    grown = set(sorted(candidates, key=lambda index: -score[index])[:count])
    assert positions(before, "kept") == active
    assert positions(drop, "dropped") == dropped
    assert positions(grow, "grown") == grown
    assert positions(after, "kept", "grown") == active - dropped | grown
    assert {after["cells"][index] for index in grown} == {"0.00"}
    for index in candidates:
        assert float(grow["cells"][index]) == pytest.approx(score[index])
    for index in active - dropped:
        assert float(after["cells"][index].replace(update_example.MINUS, "-")) == pytest.approx(
            WEIGHT.ravel()[index]
        )
    again = len(dropped & grown)
    assert (f"{again} had just been dropped" in grow["text"]) == (again > 0)


def test_methods_drop_alike_and_grow_apart() -> None:
    grown = [frozenset(positions(TABLE[method]["0.3"][2], "grown")) for method in TABLE]
    assert len(set(grown)) == len(TABLE)
    assert len({frozenset(positions(TABLE[method]["0.3"][1], "dropped")) for method in TABLE}) == 1


def test_page_holds_the_table_and_opens_drawn() -> None:
    page = update_example.html(EXAMPLE)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["table"] == TABLE
    assert set(data["styles"]) == {
        kind for stages in TABLE["set"].values() for s in stages for kind in s["kinds"]
    }
    assert page.count("<td") == MASK.size
    assert TABLE["rigl"]["0.3"][0]["text"] in page
