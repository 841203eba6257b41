"""The redistribution player moves through what the records say, beside what the package computes."""

import json
import re
import shutil

import pytest

from book.report import redistribution_player, runs
from book.report.tables import Setup
from report.conftest import PUBLISHED
from report.sample import record
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.methods import METHODS
from rigl.sparsity.shapes import load_layers
from rigl.training import records

LAPTOP = ("laptop", "fashion-mnist", "lenet-300-100")
PAPER = ("paper", "cifar10", "wrn-22-2")
LAYERS = PUBLISHED.with_name("layers.json")


@pytest.fixture
def places(project):
    """What the player has of a set-up, after saving these records."""
    shutil.copy(LAYERS, project / "results")

    def make(*made: records.Record, of: tuple[str, str, str] = LAPTOP) -> list[dict[str, object]]:
        for each in made:
            records.save(each, project / "results")
        return redistribution_player.places([Setup(*of, None, runs.load())])

    return make


def moved(**knobs: object) -> records.Record:
    made = record(80.0, **{"method": "rigl-sg", "distribution": "uniform", "density": 0.05, **knobs})
    made.density_steps = [0, 430, 860, 8600]
    for layer in made.layers:
        layer.density = [0.05, 0.2, 0.099, 0.1]
    return made


def test_every_method_that_moves_weights_can_be_played() -> None:
    moving = {name for name, rule in METHODS.items() if rule.share or rule.prunes}
    assert set(redistribution_player.METHODS_THAT_MOVE) == moving


def test_a_run_is_played_as_its_record_has_it(places) -> None:
    run = moved()
    (place,) = places(run, record(81.0, method="rigl"), moved(multiplier=2), moved(alpha=0.5))
    (played,) = place["runs"]
    assert (played["density"], played["setting"], played["seed"]) == ("0.05", "RigL-SG (uniform)", "0")
    assert played["steps"] == run.density_steps
    assert played["epochs"] == [0.0, 1.0, 2.0, 20.0]
    assert played["densities"] == [[share] * 3 for share in (0.05, 0.2, 0.099, 0.1)]
    assert played["flops"] == [run.flops.test_ratio] * 4
    assert place["flat"], "without convolutions a weight costs the same everywhere"


def test_beside_it_stands_what_the_package_computes(places) -> None:
    layers = load_layers(LAYERS)["wrn-22-2 on cifar10"]
    (place,) = places(of=PAPER)
    assert place["runs"] == []
    assert "--protocol paper --dataset cifar10 --model wrn-22-2" in place["command"]
    for density, kinds in place["still"].items():
        for kind, name in (("uniform", "uniform"), ("erk", "ERK")):
            shares = layer_densities(layers, float(density), kind)
            assert kinds[name]["densities"] == pytest.approx(list(shares.values()), rel=1e-3)
            cost = forward_flops(layers, shares) / forward_flops(layers)
            assert kinds[name]["flops"] == pytest.approx(cost, rel=1e-3)


def test_settling_is_dated_by_the_last_step_out_of_bounds(places) -> None:
    assert redistribution_player.settled(moved()) == 2
    still = moved()
    for layer in still.layers:
        layer.density = [0.1] * 4
    assert redistribution_player.settled(still) == 0
    ((played,),) = (place["runs"] for place in places(moved()))
    assert "from epoch 2 of 20 on. 0 of 3 layers end further from uniform than ERK is." in played["told"]


def test_the_page_holds_the_runs(places) -> None:
    found = places(moved())
    page = redistribution_player.html(found)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["places"] == json.loads(json.dumps(found))
