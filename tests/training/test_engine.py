"""Steps, eager and recorded. Where there is no GPU a recording does the same work again, so that all of it
but CUDA's own part is tried here."""

import json
import traceback

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.timing import noise, prepared
from rigl.sparsity.methods import METHODS
from rigl.training import engine as engines
from rigl.training.config import ConfigError, RunConfig
from rigl.training.engine import WARM_UP, Captured, Engine, Repeats
from rigl.training.models import build
from rigl.training.models.dropout import draw_from
from rigl.training.train import train

CPU = torch.device("cpu")
KNOBS = {
    "protocol": "paper",
    "dataset": "cifar10",
    "model": "wrn-10-1",
    "batch_size": 8,
    "delta_t": 7,
    "pool": 2,
}


def outcome(record):
    return record.model_dump(exclude={"provenance"})


def state(engine):
    run = engine.run
    momentum = [value["momentum_buffer"] for value in run.optimizer.state.values()]
    return [*run.model.state_dict().values(), *run.sparsifier.masks.values(), *momentum]


def trained(engine, epochs=2, images=76):
    some = noise(engine.run.config, images, CPU)
    with engine:
        metrics = [engine.epoch(some, number) for number in range(epochs)]
        return metrics, [*map(torch.clone, state(engine))], engine.evaluate(some)


@pytest.mark.parametrize(
    ("method", "preset"),
    [(name, "repro2021") for name in METHODS]
    + [(name, "google") for name in ("rigl", "set", "snfs", "rigl-struct", "pruning")],
)
def test_recorded_steps_do_what_eager_ones_do(method, preset):
    """Two epochs with a smaller last batch, updates, dropout and a warm-up of the learning rate."""
    knobs = {**KNOBS, "delta_t": 4, "warmup_share": 1e-4, "prune_start_share": 0.0}
    config = RunConfig(**knobs, method=method, preset=preset)
    eager, recorded = Engine(prepared(config, CPU)), Captured(prepared(config, CPU), Repeats())
    expected, found = trained(eager, images=44), trained(recorded, images=44)
    assert expected[0] == found[0]
    assert expected[2] == found[2]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(expected[1], found[1], strict=True))
    assert eager.run.ledger == recorded.run.ledger
    assert eager.run.sparsifier.step_count == recorded.run.sparsifier.step_count
    assert recorded.recorded
    rule = METHODS[method]
    assert (recorded.run.sparsifier.update_count > 1) == (rule.grow is not None or rule.prunes)


class Recording(Repeats):
    """Counts what is recorded and replayed."""

    def __init__(self):
        self.recorded, self.replayed = [], []

    def record(self, work):
        self.recorded.append(work.__name__)
        return lambda: (self.replayed.append(work.__name__), work())


def test_both_parts_are_recorded_once_and_the_optimiser_is_left_out_at_updates():
    recorder = Recording()
    trained(Captured(prepared(RunConfig(**KNOBS, method="rigl"), CPU), recorder), epochs=3)
    assert recorder.recorded == ["_forward", "_optimise"]
    # 9 whole batches an epoch; the first are taken as they come, and so is the smaller last one of each.
    forward = 3 * 9 - WARM_UP
    assert recorder.replayed.count("_forward") == forward
    # `prepared` took a step: the 7th, 14th, 21st and 28th of 31 move masks, the 21st an epoch's smaller last.
    assert recorder.replayed.count("_optimise") == forward - 3


def test_nothing_that_a_recording_holds_moves():
    engine = Captured(prepared(RunConfig(**KNOBS, method="rigl"), CPU), Repeats())
    trained(engine, epochs=1)
    held = state(engine)
    held += [engine.learning_rate, engine.cursor, engine.totals, *engine._plan.tensors().values()]
    before = [tensor.data_ptr() for tensor in held]
    trained(engine, epochs=1)
    held = state(engine)
    held += [engine.learning_rate, engine.cursor, engine.totals, *engine._plan.tensors().values()]
    assert before == [tensor.data_ptr() for tensor in held]


class Reads(TorchDispatchMode):
    """Counts how often the host waits for a number from the device, but for what only runs on a CPU."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        reads = "_local_scalar_dense" in name or "is_nonzero" in name or "aten.nonzero" in name
        callers = {frame.name for frame in traceback.extract_stack(limit=12)} if reads else set()
        self.count += reads and not callers & {"_at_threshold_on_cpu", "_first"}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("method", ["dense", "static", "set", "rigl", "rigl-struct"])
def test_steps_read_nothing_from_the_device_and_an_update_whether_all_is_well(method, captured):
    run = prepared(RunConfig(**KNOBS, method=method), CPU)
    engine = Captured(run, Repeats()) if captured else Engine(run)
    some = noise(engine.run.config, 80, CPU)
    with engine, Reads() as watch:
        plan = engine.plan(some, 0)
        engine.steps(some, plan, lambda: None)
    assert watch.count <= 2 * engine.run.sparsifier.update_count
    assert engine.run.sparsifier.update_count == (0 if method in ("dense", "static") else 1)


@pytest.mark.parametrize("method", ["rigl", "rigl-sm", "pruning"])
def test_a_run_of_recorded_steps_resumes_bit_for_bit(tmp_path, method):
    knobs = {"model": "wrn-10-1", "dropout": 0.3, "pool": 2, "epochs": 2, "delta_t": 3, "batch_size": 128}
    config = RunConfig(method=method, **knobs)
    whole = train(config, device="cpu", results=tmp_path / "whole", engine="captured")
    assert whole.provenance.engine == "captured"
    with pytest.raises(RuntimeError, match="stopped after 1"):
        train(
            config, device="cpu", results=tmp_path / "two", engine="captured", stop=lambda done, _: done == 1
        )
    resumed = train(config, device="cpu", results=tmp_path / "two", engine="captured")
    assert resumed.provenance.resumed == 1
    assert resumed.state_sha256 == whole.state_sha256
    eager = train(config, device="cpu", results=tmp_path / "eager")
    assert outcome(resumed) == outcome(whole) == outcome(eager)


def test_compiled_steps_train_like_eager_ones_and_resume_bit_for_bit(tmp_path, monkeypatch):
    from torch._dynamo import config as dynamo
    from torch._dynamo.utils import counters

    counters.clear()
    # Updates, warm-up and another last batch must not compile the network again.
    monkeypatch.setattr(dynamo, "error_on_recompile", True)
    config = RunConfig(model="wrn-10-1", method="rigl", epochs=2, delta_t=3, batch_size=128)
    whole = train(config, device="cpu", results=tmp_path / "whole", engine="compiled")
    assert whole.provenance.engine == "compiled"
    assert counters["stats"]["unique_graphs"] == 1
    with pytest.raises(RuntimeError, match="stopped after 1"):
        train(
            config, device="cpu", results=tmp_path / "two", engine="compiled", stop=lambda done, _: done == 1
        )
    resumed = train(config, device="cpu", results=tmp_path / "two", engine="compiled")
    assert resumed.provenance.resumed == 1
    assert resumed.state_sha256 == whole.state_sha256
    eager = train(config, device="cpu", results=tmp_path / "eager")
    assert eager.updates == whole.updates
    assert whole.history["train_loss"] == pytest.approx(eager.history["train_loss"], abs=0.02)


def test_compiled_steps_need_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(ConfigError, match=r"engine='compiled' needs a C\+\+ compiler .*: choose eager"):
        engines.choose(prepared(RunConfig(**KNOBS), CPU), name="compiled")


def test_an_engine_leaves_the_model_as_it_found_it():
    engine = Engine(prepared(RunConfig(**KNOBS), CPU))
    trained(engine, epochs=1)
    assert all(getattr(module, "generator", None) is None for module in engine.run.model.modules())


def test_dropout_from_a_generator_of_its_own():
    model = build("wrn-10-1", 10, dropout=0.3)
    x = torch.ones(1000, 16)
    drop = model.blocks[0].dropout
    torch.manual_seed(3)
    before = torch.get_rng_state()
    draw_from(model, torch.Generator().manual_seed(1))
    first = drop(x)
    draw_from(model, torch.Generator().manual_seed(1))
    assert torch.equal(first, drop(x))
    assert torch.equal(before, torch.get_rng_state())
    kept = float((first != 0).double().mean())
    assert kept == pytest.approx(0.7, abs=0.02)
    assert first[first != 0].unique().tolist() == pytest.approx([1 / 0.7], rel=1e-4)
    assert torch.equal(model.eval().blocks[0].dropout(x), x)
    draw_from(model.train(), None)
    assert not torch.equal(drop(x), first)
    assert not torch.equal(before, torch.get_rng_state())


def test_captured_only_where_it_was_found_right(tmp_path, monkeypatch):
    run = prepared(RunConfig(**KNOBS), CPU)
    assert type(engines.choose(run)) is Engine
    assert type(engines.choose(run, name="captured")) is Captured
    monkeypatch.setattr(engines, "root", lambda: tmp_path)
    assert not engines.verified(CPU)
    path = engines.verification_path(CPU)
    path.parent.mkdir(parents=True)
    for passed, version, expected in ((True, torch.__version__, True), (False, torch.__version__, False)):
        path.write_text(json.dumps({"passed": passed, "versions": {"torch": str(version)}}))
        assert engines.verified(CPU) is expected
    path.write_text(json.dumps({"passed": True, "versions": {"torch": "1.0.0"}}))
    assert not engines.verified(CPU)


def test_an_engine_that_cannot_be():
    with pytest.raises(ConfigError, match="engine='graphs' is unknown"):
        engines.choose(prepared(RunConfig(**KNOBS), CPU), name="graphs")
