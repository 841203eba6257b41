"""The benchmark runs and its figures hang together; how fast anything is, no test asks."""

import json
from math import sqrt

import pytest
import torch

from benchmarks import plain, sparse, steps, timing, updates, verify, whole
from benchmarks.__main__ import main
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.methods import METHODS
from rigl.training import records
from rigl.training.engine import Captured
from rigl.training.models import build
from rigl.training.run import full_layers

CPU = torch.device("cpu")
SIZE = {"model": "wrn-10-1", "rounds": 2, "batch": 8}


def spreads(found):
    return [row for part in ("seconds", "rates", "ratios") for row in found.get(part, {}).values()]


def clock(seconds):
    """`times` that runs every step, and then says how long each took."""

    def times(steps, rounds, device):
        for step in steps.values():
            step()
        return {name: [seconds(name, steps)] * rounds for name in steps}

    return times


def test_every_method_against_dense(monkeypatch):
    whole = {"dense": 1.0, "rigl": 1.5, "data": 0.1, "forward": 0.25, "forward and backward": 0.75}
    optimiser = {"dense": 0.01, "between": 0.02, "update": 0.52}
    monkeypatch.setattr(
        steps, "times", clock(lambda name, among: (whole if "data" in among else optimiser)[name])
    )
    found = steps.measure(CPU, **SIZE)
    seconds, ratios = ({name: row["median"] for name, row in found[part].items()} for part in found)
    assert {name: seconds.pop(name) for name in ("dense", "rigl", "data", "forward")}.items() <= whole.items()
    assert seconds.pop("backward") == 0.5
    assert seconds.pop("dense, optimiser") == 0.01
    assert ratios.pop("rigl against dense, whole steps between updates") == 1.5
    assert ratios.pop("data, share of a dense step") == 0.1
    moving = {name for name, rule in METHODS.items() if rule.grow or rule.prunes}
    timed = {name.removesuffix(", an update") for name in seconds if name.endswith("update")}
    assert timed == moving - {"rigl-reinit"}  # which trains as rigl does
    for method in steps.TIMED:
        # 99 of 100 steps take 10 ms more than dense ones, and an update half a second more.
        expected = 1.01 + (0.005 if method in moving else 0)
        ratio = ratios.pop(f"{method} against dense, a step, updates included")
        assert ratio == pytest.approx(expected, abs=1e-9)
    assert not ratios


def test_an_update_of_one_layer_and_its_memory(monkeypatch):
    """At most 16 bytes a weight at the peak of an update, and 2 beside the weight at rest."""
    seconds = {"update": 2.0, "plain": 4.0, "masked": 0.3, "own": 0.1}
    monkeypatch.setattr(updates, "times", clock(lambda name, among: seconds[name]))
    found = updates.measure(CPU, weights=1_200_000, rounds=2)
    ratios = {name: row["median"] for name, row in found["ratios"].items()}
    assert ratios == pytest.approx(
        {
            "an update of one layer against two plain top-k": 0.5,
            "a masked step of one layer against the optimiser's own": 3.0,
        }
    )
    rates = {name: row["median"] for name, row in found["rates"].items()}
    assert 8 < rates["an update of one layer, peak bytes a weight"] <= 16
    assert rates["a masked step of it, peak bytes a weight"] < 0.1
    assert 1 <= rates["its mask at rest, bytes a weight"] <= 2


def test_the_peak_of_what_is_allocated():
    def work():
        first = torch.zeros(250_000)
        second = first + 1
        del first
        return second + 1

    assert 2_000_000 <= updates.peak_bytes(work, CPU) < 2_010_000


@pytest.mark.parametrize("method", [*steps.TIMED, "rigl-reinit"])
def test_the_update_that_is_timed_is_one(method):
    run = timing.prepared(timing.config("wrn-10-1", 8, method), CPU)
    assert run.sparsifier.update_count == 0
    moves = run.sparsifier.method.grow is not None or run.sparsifier.method.prunes
    timing.optimise(run)()
    assert run.sparsifier.update_count == 0
    one = timing.optimise(run, update=True)
    one(), one()
    assert run.sparsifier.update_count == (2 if moves else 0)


def test_structured_networks_are_timed_against_dense():
    found = steps.structured(CPU, **SIZE)
    names = ("small-dense", "RigL-struct, uniform", "RigL-struct, erk")
    assert set(found["ratios"]) == {
        f"{name} against dense, wall time of {what}" for name in names for what in ("training", "inference")
    }
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in spreads(found))


def test_traffic_is_what_operations_read_and_write():
    a, b = torch.ones(100, 50), torch.ones(50, 20)
    with steps.Traffic() as traffic:
        product = a @ b
        product.view(-1).t()  # moves nothing
        product.relu_()
    assert traffic.bytes == 4 * (5000 + 1000 + 2000 + 2 * 2000)


@pytest.mark.parametrize(("copy_seconds", "limit"), [(1e-3, "arithmetic"), (10.0, "memory")])
def test_a_step_against_the_limits(monkeypatch, copy_seconds, limit):
    seconds = {"dense": 0.5, "matrix product": 0.25, "copy": copy_seconds}
    monkeypatch.setattr(steps, "times", clock(lambda name, _: seconds[name]))
    found = steps.limits(CPU, **SIZE, steps=2)
    rates = {name: row["median"] for name, row in found["rates"].items()}
    ours = timing.Subject(CPU, model="wrn-10-1", batch=8)
    flops = 3 * 8 * forward_flops(full_layers(ours.run.config))
    assert rates["a step, FLOP/s"] == flops / 0.5
    assert rates["a matrix product, FLOP/s"] == 2 * 2048**3 / 0.25
    assert rates["a copy, bytes/s"] == 2 * 4 * 2**25 / copy_seconds
    arithmetic, memory = (row["median"] for row in found["ratios"].values())
    assert arithmetic == rates["a step, FLOP/s"] / rates["a matrix product, FLOP/s"]
    assert memory == rates["a step, bytes/s"] / rates["a copy, bytes/s"]
    assert found["limit"] == limit


def test_the_plain_loop_sees_the_same_images():
    for engine in ("eager", "captured"):
        found = plain.measure(CPU, **SIZE, steps=2, engine=engine)
        assert all(row["median"] > 0 for row in spreads(found))
        assert found["images_per_second"]["dense"] > 0
    images = timing.noise(timing.config("wrn-10-1", 8), 6, CPU)
    pictures = plain.Pictures(images.x, images.y, (0.0,) * 3, (1 / 255,) * 3)
    window, label = pictures[3]
    assert label == int(images.y[3])
    assert window.shape == (3, 32, 32)
    assert set(window.unique().round().tolist()) <= set(images.x[3].unique().tolist())


@pytest.fixture
def few(monkeypatch):
    """A method of each kind is compared; that all agree, a test of the engine tells."""
    monkeypatch.setattr(verify, "METHODS", ("static", "rigl", "pruning"))


def test_captured_steps_are_found_right_and_wrong_ones_are_not(few, monkeypatch):
    right = verify.verify(CPU, steps=44, batch=8, model="lenet-300-100")
    assert right["passed"]
    assert {row["method"] for row in right["rows"]} == {"static", "rigl", "pruning", "two lanes"}
    updates = {row["method"]: row["updates"] for row in right["rows"]}
    assert updates["rigl"] == updates["pruning"] == 2
    assert updates["static"] == 0

    def forgets_to_count(self, forward, optimise):
        forward(), optimise()

    monkeypatch.setattr(Captured, "_again", forgets_to_count)
    wrong = verify.verify(CPU, steps=44, batch=8, model="lenet-300-100")
    assert not wrong["passed"]
    assert not next(row for row in wrong["rows"] if row["method"] == "rigl")["passed"]


def test_two_runs_side_by_side(monkeypatch, tmp_path):
    assert whole._together([["0", "1"]], 1, str(tmp_path), 1) > 0
    assert len([*records.records(tmp_path)]) == 2
    monkeypatch.setattr(whole, "_together", lambda parts, *_: 3.0 if len(parts) == 2 else 4.0)
    (found,) = whole.side_by_side(2)["ratios"].values()
    assert found["median"] == 0.75


def test_quick_prints_a_table_and_stores_nothing(few, capsys, root):
    before = sorted((root / "results").rglob("*"))
    assert main(["--quick", "--device", "cpu"]) == 0
    assert "dense against the plain loop" in capsys.readouterr().out
    assert main(["--quick", "--verify", "--device", "cpu"]) == 0
    assert "captured steps agree with eager ones" in capsys.readouterr().out
    assert sorted((root / "results").rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--device", "gpu"], "device='gpu'"), (["--model", "wrn-10-1"], "model='wrn-10-1'")],
)
def test_what_cannot_be_measured(capsys, arguments, said):
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_records_name_their_commit_and_device(root):
    for path in (root / "results" / "bench").glob("*.json"):
        found = json.loads(path.read_text())
        assert found["commit"]
        assert found["clean"] is True
        assert found["device"]


def test_sparse_execution(monkeypatch):
    """Times of all networks' steps would take minutes: of the smallest alone, with the clock replaced."""
    monkeypatch.setattr(sparse, "times", clock(lambda name, among: 0.5 if "auto" in name else 1.0))
    found = sparse.measure(["LeNet-300-100", "crossovers"], 2, quick=True)
    rows = {(row["execution"], row["density"]): row for row in found["training"] if row["threads"] == 1}
    # 98 of 100 steps take half a second and the other two, with the update, half a second together.
    repeat = 2**22 // 266_610
    step = (98 * 0.5 / repeat + 0.5) / 100
    assert rows["auto", 0.05]["seconds"]["median"] == pytest.approx(step)
    assert rows["auto", 0.05]["faster"]["median"] == pytest.approx((1 / repeat) / step)
    forms = {row["form"]: row for row in found["models"]}
    assert set(forms) == {"dense", "small-dense", "masked", "sparse", "compacted"}
    assert forms["sparse"]["file"] < 0.16 * forms["dense"]["file"]
    assert forms["sparse"]["memory"] < 0.2 * forms["dense"]["memory"]
    assert {row["auto"] for row in found["crossovers"]} == {"masked"}
    kept = sparse.merged(found, {kind: [] for kind in found}, ["crossovers"])
    assert kept["training"] == found["training"]
    assert not kept["crossovers"]


def test_race_is_of_three_seeds():
    plan = sparse.race()
    assert len({config.name for config in plan}) == len(plan) == 30
    small = {config.density for config in plan if config.method == "small-dense"} - set(sparse.DENSITIES)
    counts = sorted(
        sum(
            p.numel()
            for p in build("lenet-300-100", 10, sqrt(density), input_shape=(1, 28, 28)).parameters()
            if p.dim() > 1
        )
        for density in small
    )
    full = sum(
        p.numel() for p in build("lenet-300-100", 10, input_shape=(1, 28, 28)).parameters() if p.dim() > 1
    )
    assert counts == pytest.approx([full * density for density in sorted(sparse.DENSITIES)], rel=0.15)
    assert {config.execution for config in plan if config.method == "rigl"} == {"auto"}
