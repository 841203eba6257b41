"""Whole runs, small and real: on scikit-learn's digits."""

import time

import pytest
import torch
from filelock import FileLock, Timeout
from forked import forked

from rigl.sparsity.methods import METHODS
from rigl.training import checkpoints, records
from rigl.training import train as training
from rigl.training.augmentation import draw
from rigl.training.config import ConfigError, RunConfig
from rigl.training.data import DataError
from rigl.training.devices import isolated
from rigl.training.engine import Engine
from rigl.training.run import fingerprint
from rigl.training.train import threads, train

SMALL = {"model": "lenet-300-100", "epochs": 3, "delta_t": 20}
# Of convolutions, with batch norm and dropout
WIDE = {"model": "wrn-10-1", "dropout": 0.3, "pool": 2, "batch_size": 128, "delta_t": 3}


def run(tmp_path, **knobs):
    return train(RunConfig(**{**SMALL, **knobs}), device="cpu", results=tmp_path)


def outcome(record):
    """All that two runs of one config must agree in."""
    return {**record.model_dump(exclude={"provenance"})}


@pytest.mark.parametrize(
    ("method", "preset"),
    [(name, "repro2021") for name in METHODS]
    + [(name, "google") for name, rule in METHODS.items() if rule.grow or rule.prunes],
)
def test_every_method_learns_and_is_recorded(tmp_path, method, preset):
    rule = METHODS[method]
    record = run(tmp_path, method=method, preset=preset, density=0.2)
    assert record.status == "finished"
    assert record.test_accuracy > 70
    assert record.history["train_loss"][-1] < record.history["train_loss"][0]
    assert all(len(values) == 3 for values in record.history.values())
    assert records.load(records.path_of(record.config, tmp_path)) == record
    updates = (
        5 if rule.only_prunes else {"repro2021": 4, "google": 5}[preset] + rule.prunes if rule.grow else 0
    )
    assert record.updates == updates
    off = 5e-3 if rule.channels else 1e-6  # half a channel a layer
    assert record.density == pytest.approx(0.2 if rule.masked else 1.0, abs=off)
    assert record.active_parameters == record.parameters - round((1 - record.density) * 50_200 * rule.masked)
    assert 0 < record.flops.test_ratio <= 1
    assert not list((tmp_path / ".checkpoints").glob("*.pt"))
    assert record.source == (record.config.source.name if rule.source else None)
    moved = [layer.density[0] != layer.density[-1] for layer in record.layers]
    assert any(moved) == bool(rule.share or rule.prunes)
    assert len(record.density_steps) == len(record.forward_ratio) == len(record.layers[0].density)
    assert record.density_steps[-1] == 129 - (updates if preset == "google" else 0)
    assert record.forward_ratio[-1] == pytest.approx(record.flops.test_ratio, abs=1e-6)
    masks = records.load_masks(record.config, tmp_path)
    assert (masks is not None) == rule.masked
    if rule.masked:
        assert {name: round(float(mask.mean()), 9) for name, mask in masks.items()} == {
            layer.name: layer.density[-1] for layer in record.layers
        }


def test_same_config_same_bits_and_another_seed_others(tmp_path):
    first = run(tmp_path / "a", epochs=1, **WIDE)
    again = run(tmp_path / "b", epochs=1, **WIDE)
    other = run(tmp_path / "c", epochs=1, seed=1, **WIDE)
    assert outcome(first) == outcome(again)
    assert first.state_sha256 != other.state_sha256


def test_a_finished_run_is_read_not_trained(tmp_path):
    record = run(tmp_path)
    path = records.path_of(record.config, tmp_path)
    stamp = path.stat().st_mtime_ns
    assert run(tmp_path) == record
    assert path.stat().st_mtime_ns == stamp
    again = train(record.config, device="cpu", results=tmp_path, again=True)
    assert outcome(again) == outcome(record)
    assert path.stat().st_mtime_ns != stamp


def test_small_steps_take_one_thread_and_large_ones_all():
    assert threads(RunConfig()) == threads(RunConfig(protocol="laptop", dataset="fashion-mnist")) == 1
    assert threads(RunConfig(protocol="paper", dataset="cifar10")) == torch.get_num_threads()


def test_random_state_and_mode_are_left_as_they_were(tmp_path):
    torch.manual_seed(5)
    before_threads = torch.get_num_threads()
    before = torch.get_rng_state()
    deterministic = torch.backends.cudnn.deterministic
    run(tmp_path, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == before_threads
    assert torch.backends.cudnn.deterministic == deterministic


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"), method="rigl-sm", **{**WIDE, "batch_size": 32, "epochs": 4})


@pytest.fixture
def other(whole, tmp_path):
    """Another process, in the middle of the same run."""
    process = forked(train, whole.config, device="cpu", results=tmp_path)
    while not checkpoints.checkpoint_of(whole.config, tmp_path).exists():
        assert process.is_alive()
        time.sleep(0.01)
    yield process
    process.join()


def test_kill_9_and_the_same_command_goes_on_bit_for_bit(whole, other, tmp_path):
    other.kill()
    other.join()
    assert not records.path_of(whole.config, tmp_path).exists()
    resumed = train(whole.config, device="cpu", results=tmp_path)
    assert outcome(resumed) == outcome(whole)
    assert resumed.provenance.resumed == 1
    assert whole.provenance.resumed == 0


def test_two_processes_at_once_make_one_record(whole, other, tmp_path):
    """The second waits for the first, and reads what it made."""
    with pytest.raises(Timeout):
        train(whole.config, device="cpu", results=tmp_path, wait=False)
    record = train(whole.config, device="cpu", results=tmp_path)
    other.join(240)
    assert other.exitcode == 0
    assert [path.name for path in (tmp_path / "digits").iterdir()] == [f"{whole.name}.json"]
    assert outcome(record) == outcome(whole)
    assert record.provenance.resumed == 0


@pytest.fixture
def dies_after(monkeypatch):
    """Let the run of a config die just after the checkpoint of one of its epochs."""

    def die(config, results, epochs):
        saves, save = [], checkpoints.save

        def save_and_die(state, path):
            save(state, path)
            saves.append(path.stem)
            if saves.count(config.name) == epochs:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save", save_and_die)
            with pytest.raises(KeyboardInterrupt):
                train(config, device="cpu", results=results)
        assert (results / ".checkpoints" / f"{config.name}.pt").exists()
        assert not records.path_of(config, results).exists()

    return die


@pytest.mark.parametrize("method", [name for name, rule in METHODS.items() if rule.masked])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, dies_after, method):
    """Weights, masks and momentum, and also the ledger of FLOPs and the densities over time."""
    knobs = {**SMALL, "epochs": 2, "delta_t": 10}
    if method in ("snfs", "pruning"):
        knobs |= WIDE
    config = RunConfig(method=method, **knobs)
    whole = train(config, device="cpu", results=tmp_path / "whole")
    dies_after(config, tmp_path / "died", 1)
    resumed = train(config, device="cpu", results=tmp_path / "died")
    assert outcome(resumed) == outcome(whole)
    assert (resumed.provenance.resumed, whole.provenance.resumed) == (1, 0)
    assert resumed.state_sha256 == whole.state_sha256
    assert resumed.flops.counted == whole.flops.counted > 0
    if config.source:
        source = records.load(records.path_of(config.source, tmp_path / "died"))
        assert source.provenance.resumed == 0
    for one, other in zip(_masks(config, tmp_path / "whole"), _masks(config, tmp_path / "died"), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("method", ["lottery", "rigl-reinit"])
def test_a_run_interrupted_in_what_it_starts_from(tmp_path, dies_after, method):
    config = RunConfig(**{**SMALL, "epochs": 2, "method": method})
    whole = train(config, device="cpu", results=tmp_path / "whole")
    dies_after(config.source, tmp_path / "died", 1)
    resumed = train(config, device="cpu", results=tmp_path / "died")
    assert outcome(resumed) == outcome(whole)
    assert resumed.provenance.resumed == 0
    source = records.load(records.path_of(config.source, tmp_path / "died"))
    assert source.provenance.resumed == 1


def _masks(config, results):
    return records.load_masks(config, results).values()


def interrupted(config, results, monkeypatch, change=lambda: None):
    """A run that dies between its last checkpoint and its record, and is then started again."""
    with monkeypatch.context() as patch:
        patch.setattr(records, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            train(config, device="cpu", results=results)
    change()
    return train(config, device="cpu", results=results)


def test_a_diverged_run_that_dies_before_its_record(tmp_path, monkeypatch):
    config = RunConfig(**{**SMALL, "learning_rate": 1e30})
    whole = train(config, device="cpu", results=tmp_path / "whole")
    resumed = interrupted(config, tmp_path / "died", monkeypatch)
    assert resumed.status == "diverged"
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("content", [b"", b"abc", b"PK" + bytes(200)])
def test_a_damaged_checkpoint_starts_anew_and_says_so(tmp_path, monkeypatch, content):
    config = RunConfig(**{**SMALL, "epochs": 1})
    checkpoint = tmp_path / "died" / ".checkpoints" / f"{config.name}.pt"
    with pytest.warns(UserWarning, match=rf"{config.name}\.pt cannot be used"):
        record = interrupted(config, tmp_path / "died", monkeypatch, lambda: checkpoint.write_bytes(content))
    assert record.provenance.resumed == 0
    assert outcome(record) == outcome(train(config, device="cpu", results=tmp_path / "whole"))


def test_a_resumed_run_keeps_its_precision_and_confesses_other_code(tmp_path, monkeypatch):
    config = RunConfig(**{**SMALL, "epochs": 1})
    monkeypatch.setattr("rigl.training.provenance.commit", lambda: ("a" * 40, True))

    def another_commit_and_machine():
        monkeypatch.setattr("rigl.training.provenance.commit", lambda: ("b" * 40, True))
        monkeypatch.setattr("rigl.training.run.resolve_precision", lambda *_: "bf16")
        monkeypatch.setattr("rigl.training.train.device_name", lambda *_: "another CPU")

    origin = interrupted(config, tmp_path, monkeypatch, another_commit_and_machine).provenance
    assert (origin.commit, origin.clean, origin.resumed) == ("a" * 40, False, 1)
    assert origin.precision == "float32"
    assert origin.device.endswith(" + another CPU")


def test_a_full_or_read_only_disk_is_one_line_that_names_the_file(small_disk):
    place, remount = small_disk
    config = RunConfig(**SMALL)
    checkpoint = checkpoints.checkpoint_of(config, place)
    with pytest.raises(records.WriteError) as caught:
        train(config, device="cpu", results=place)
    assert str(caught.value) == f"{checkpoint} cannot be written: No space left on device"
    assert caught.value._render_traceback_() == [f"WriteError: {caught.value}"]
    assert not list(place.rglob("*.part"))
    remount("ro")
    with pytest.raises(records.WriteError) as caught:
        train(config, device="cpu", results=place)
    assert str(caught.value).startswith(str(place))
    assert str(caught.value).endswith(" cannot be written: Read-only file system")
    remount("rw,size=50m")
    assert train(config, device="cpu", results=place).status == "finished"


def test_a_checkpoint_left_beside_its_record_is_cleared(tmp_path):
    record = run(tmp_path)
    left = tmp_path / ".checkpoints" / f"{record.name}.pt"
    left.write_bytes(b"left")
    assert run(tmp_path) == record
    assert not left.exists()


def test_what_a_killed_process_had_half_written_is_cleared(tmp_path):
    """But only by who may train the run, and of no other run."""
    config = RunConfig(**SMALL)
    other = RunConfig(**SMALL, seed=1)
    parts = {}
    for each in (config, other):
        lies = checkpoints.checkpoint_of(each, tmp_path), records.path_of(each, tmp_path)
        parts[each] = [path.with_name(f".{path.name}.x1_y.part") for path in lies]
        for part in parts[each]:
            part.parent.mkdir(exist_ok=True)
            part.touch()
    with FileLock(checkpoints.lock_of(config, tmp_path)), pytest.raises(Timeout):
        train(config, device="cpu", results=tmp_path, wait=False)
    assert all(part.exists() for part in parts[config])
    train(config, device="cpu", results=tmp_path)
    assert not any(part.exists() for part in parts[config])
    assert all(part.exists() for part in parts[other])


def test_inside_a_run_cudnn_stays_on_and_deterministic():
    with isolated(torch.device("cpu"), 1):
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.deterministic


def test_a_loss_that_is_no_number_ends_the_run_with_a_record(tmp_path):
    record = run(tmp_path, learning_rate=1e30, epochs=5)
    assert record.status == "diverged"
    assert record.test_accuracy is None
    assert len(record.history["train_loss"]) < 5
    assert record.history["train_loss"][-1] is None
    last = run(tmp_path / "last", learning_rate=1e30, epochs=1, batch_size=1350)  # a single step
    assert (last.status, last.test_accuracy) == ("diverged", None)
    path = records.path_of(record.config, tmp_path)
    assert "NaN" not in path.read_text()
    assert records.load(path) == record
    assert list(records.frame(tmp_path)["status"]) == ["diverged"]


def test_all_images_can_be_trained_on(tmp_path):
    record = run(tmp_path, validation=0, epochs=1)
    assert record.validation_accuracy is None
    assert set(record.history) == {"train_loss", "train_accuracy"}


@pytest.fixture
def beginnings(monkeypatch):
    """Names of configs, and weights and masks as their runs have them before the first step."""
    found, build = {}, training.build_run

    def spy(config, *arguments):
        made = build(config, *arguments)
        assert config.name not in found, "trained twice"
        weights = {name: value.clone() for name, value in made.model.state_dict().items()}
        found[config.name] = weights, {name: mask.clone() for name, mask in made.sparsifier.masks.items()}
        return made

    monkeypatch.setattr(training, "build_run", spy)
    return found


@pytest.mark.parametrize(
    ("method", "source", "knobs"),
    [
        ("lottery", "pruning", {}),
        ("lottery", "pruning", {**WIDE, "seed": 3}),
        ("rigl-reinit", "rigl-sm", {"distribution": "uniform"}),
        ("rigl-reinit", "rigl-sm", {"distribution": "erk"}),
        ("rigl-reinit", "rigl-sm", {**WIDE, "distribution": "uniform"}),
    ],
)
def test_the_same_initial_weights_and_the_final_mask_of_another_run(
    tmp_path, beginnings, method, source, knobs
):
    knobs = {**SMALL, "epochs": 1, "delta_t": 10, **knobs}
    record = run(tmp_path, method=method, **knobs)
    first = RunConfig(**{**knobs, "method": source})
    assert list(beginnings) == [first.name, record.name]
    assert (record.source, record.config.source) == (first.name, first)
    before = records.load(records.path_of(first, tmp_path))
    assert (before.status, before.source, before.updates > 0) == ("finished", None, True)

    training.build_run(RunConfig(**{**knobs, "method": "dense"}), torch.device("cpu"))
    dense, _ = beginnings[RunConfig(**{**knobs, "method": "dense"}).name]
    weights, masks = beginnings[record.name]
    kept = records.load_masks(first, tmp_path)
    assert masks.keys() == kept.keys()
    assert all(torch.equal(masks[name], torch.from_numpy(kept[name])) for name in kept)
    assert any(not torch.equal(mask, masks[name]) for name, mask in beginnings[first.name][1].items())
    assert all(torch.equal(weights[name], dense[name] * masks.get(name, 1)) for name in dense)
    if method == "lottery":
        assert all(torch.equal(value, dense[name]) for name, value in beginnings[first.name][0].items())
        end = records.load_masks(record.config, tmp_path)
        assert all((end[name] == kept[name]).all() for name in kept)
        assert record.flops.counted == pytest.approx(before.flops.counted + 3 * record.flops.forward)
    else:
        densities = [(layer.name, layer.density[-1]) for layer in before.layers]
        assert [(layer.name, layer.density[0]) for layer in record.layers] == densities

    assert run(tmp_path, method=method, **knobs) == record
    assert records.load(records.path_of(first, tmp_path)) == before


@pytest.mark.parametrize(
    ("method", "missing"),
    [("lottery", "nothing"), ("lottery", "masks"), ("lottery", "record"), ("rigl-reinit", "masks")],
)
def test_what_is_missing_of_the_first_run_is_made_again(tmp_path, method, missing):
    config = RunConfig(**{**SMALL, "epochs": 1, "method": method})
    whole = train(config, device="cpu", results=tmp_path / "whole")
    first = train(config.source, device="cpu", results=tmp_path / "part")
    path = records.path_of(config.source, tmp_path / "part")
    stamp = path.stat().st_mtime_ns
    if missing == "record":
        path.unlink()
    if missing == "masks":
        (kept,) = tmp_path.glob("part/*masks/digits/*.npz")
        kept.unlink()
    assert outcome(train(config, device="cpu", results=tmp_path / "part")) == outcome(whole)
    assert outcome(records.load(path)) == outcome(first)
    assert (path.stat().st_mtime_ns == stamp) == (missing == "nothing")


def test_a_source_made_again_that_came_out_different_says_so(tmp_path):
    """As on another device: here the old record is of another outcome."""
    config = RunConfig(**{**SMALL, "epochs": 1, "method": "lottery"})
    first = train(config.source, device="cpu", results=tmp_path)
    (kept,) = tmp_path.glob("*masks/digits/*.npz")
    masks = records.load_masks(config.source, tmp_path)
    kept.unlink()
    records.save(first.model_copy(update={"state_sha256": "0" * 64}), tmp_path)
    with pytest.warns(UserWarning, match=r"pruning_.* was trained again for its masks, came out different"):
        ticket = train(config, device="cpu", results=tmp_path)
    assert records.load(records.path_of(config.source, tmp_path)).state_sha256 == first.state_sha256
    found = {name: torch.from_numpy(mask) for name, mask in masks.items()}
    assert ticket.source_masks == fingerprint(found)


def test_damaged_masks_are_named_and_nothing_is_trained(tmp_path):
    config = RunConfig(**{**SMALL, "epochs": 1, "method": "lottery"})
    train(config.source, device="cpu", results=tmp_path)
    (kept,) = tmp_path.glob("*masks/digits/*.npz")
    kept.write_bytes(b"PK" + kept.read_bytes()[50:])
    with pytest.raises(records.RecordError, match=kept.name):
        train(config, device="cpu", results=tmp_path)
    assert not records.path_of(config, tmp_path).exists()


@pytest.mark.parametrize("method", ["lottery", "rigl-reinit"])
def test_a_first_run_that_diverged_is_named(tmp_path, method):
    config = RunConfig(**{**SMALL, "epochs": 1, "method": method, "learning_rate": 1e30})
    with pytest.raises(ConfigError, match=f"{method} needs {config.source.name}, which diverged"):
        train(config, device="cpu", results=tmp_path)
    assert [path.stem for path in (tmp_path / "digits").iterdir()] == [config.source.name]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_longer_training_stretches_schedules_but_not_where_pruning_begins(multiplier):
    """At the paper's length, without training: the step counts in the sparsifier itself."""
    config = RunConfig(protocol="paper", dataset="cifar10", method="pruning", multiplier=multiplier)
    sparsifier = training.build_run(config, torch.device("cpu")).sparsifier
    due = []
    for step in range(99, multiplier * 88_000, 100):
        sparsifier.step_count = step
        due += [step] if sparsifier.update_due else []
    assert due == list(range(799, multiplier * 66_000 + 100, 100))
    grown = training.build_run(
        RunConfig(protocol="paper", dataset="cifar10", method="rigl", multiplier=multiplier),
        torch.device("cpu"),
    ).sparsifier
    for step, expected in ((99, True), (699, True), (multiplier * 66_000 - 1, True), (700, False)):
        grown.step_count = step
        assert grown.update_due == expected
    grown.step_count = multiplier * 66_000 + 99
    assert not grown.update_due


def test_a_run_twice_as_long(tmp_path):
    once, twice = (run(tmp_path, method="lottery", epochs=1, multiplier=k) for k in (1, 2))
    assert [len(record.history["train_loss"]) for record in (once, twice)] == [1, 2]
    assert records.load(records.path_of(twice.config.source, tmp_path)).config.multiplier == 2
    assert twice.density_steps[-1] == 2 * once.density_steps[-1] == 86
    assert twice.flops.train_ratio == pytest.approx(
        2 * twice.flops.training / (3 * twice.flops.dense_forward), rel=1e-9
    )


def test_densities_of_ones_own(tmp_path):
    given = {"layers.0.weight": 0.05, "layers.1.weight": 0.1, "layers.2.weight": 1.0}
    names = [layer.name for layer in run(tmp_path, method="dense", epochs=1).layers]
    given = dict(zip(names, given.values(), strict=True))
    for method in ("static", "rigl", "snfs"):
        record = run(tmp_path, method=method, distribution=given, epochs=1)
        first = {layer.name: layer.density[0] for layer in record.layers}
        assert first == pytest.approx(given, abs=1e-4)
        assert record.name.startswith(f"{method}-custom-")
    with pytest.raises(ValueError, match=f"differ in: {names[2]}"):
        run(tmp_path, distribution=dict.fromkeys(names[:2], 0.5), epochs=1)


def test_densities_of_another_runs_end(tmp_path):
    ended = run(tmp_path, method="snfs", epochs=1, **WIDE)
    record = run(tmp_path, method="static", epochs=1, distribution=ended.name, **WIDE)
    assert [layer.density[0] for layer in ended.layers] != [layer.density[-1] for layer in ended.layers]
    assert [layer.density[0] for layer in record.layers] == [layer.density[-1] for layer in ended.layers]
    assert (record.config.density, record.source) == (None, None)
    assert record.density == pytest.approx(ended.density, abs=1e-6)
    assert record.name.startswith(f"static-as-{ended.config.run_id}_")
    missing = RunConfig(distribution="rigl_0123abcd")
    with pytest.raises(ConfigError, match="distribution='rigl_0123abcd': no such record under") as caught:
        train(missing, device="cpu", results=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["static", "rigl", "snfs", "rigl-reinit"])
def test_a_budget_in_flops(tmp_path, method):
    record = run(tmp_path, method=method, flops=0.3, distribution="erk", epochs=1, **WIDE)
    start = record.forward_ratio[0]
    if method == "rigl-reinit":
        start = records.load(records.path_of(record.config.source, tmp_path)).forward_ratio[0]
    assert start == pytest.approx(0.3, abs=1e-3)
    assert "_f0.3_" in record.name
    if method != "snfs" and method != "rigl-reinit":
        assert record.flops.test_ratio == pytest.approx(0.3, abs=1e-3)


def test_small_dense_is_narrow(tmp_path):
    record = run(tmp_path, method="small-dense", model="wrn-10-1", density=0.1, epochs=1)
    assert record.layers[0].shape == (5, 1, 3, 3)
    assert record.parameters == record.active_parameters < 10_000
    assert record.flops.train_ratio == pytest.approx(record.flops.test_ratio)


@pytest.mark.parametrize("has", [False, True])
def test_a_small_run_is_float32_on_every_cpu(tmp_path, monkeypatch, has):
    monkeypatch.setattr("rigl.training.devices.cpu_has_bf16", lambda: has)
    assert run(tmp_path, epochs=1).provenance.precision == "float32"
    paper = RunConfig(protocol="paper", dataset="cifar10", model="wrn-10-1", epochs=1)
    assert training.build_run(paper, torch.device("cpu")).precision == ("bf16" if has else "float32")


def test_bf16_where_it_is_asked_for(tmp_path):
    record = run(tmp_path, precision="bf16", epochs=1)
    assert record.provenance.precision == "bf16"
    assert record.config.run_id != RunConfig(**{**SMALL, "epochs": 1}).run_id


def test_missing_data_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("rigl.training.data.DEBIAN", tmp_path / "nowhere")
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies it was made with
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DataError, match="fashion-mnist is missing"):
        train(
            RunConfig(protocol="laptop", dataset="fashion-mnist"),
            device="cpu",
            results=tmp_path / "results",
            data=tmp_path / "data",
        )
    assert not list((tmp_path / "results").glob("*/*.json"))


def test_real_fashion_mnist(tmp_path, real_data):
    """An epoch of the real thing: above 75 % is out of reach of anything that does not learn."""
    real_data("fashion-mnist")
    config = RunConfig(protocol="laptop", dataset="fashion-mnist", density=0.05, epochs=1)
    record = train(config, device="cpu", results=tmp_path)
    assert record.test_accuracy > 75
    assert record.updates == 3
    assert record.flops.test_ratio == pytest.approx(0.05, abs=1e-4)


def test_real_cifar10_steps(real_data):
    """A few steps of WRN-10-1 on real CIFAR-10 lower the loss."""
    from rigl.training.data import load

    real_data("cifar10")
    config = RunConfig(protocol="laptop", dataset="cifar10")
    dataset = load("cifar10")
    run = training.build_run(config, torch.device("cpu"))
    engine = Engine(run)
    x, y = engine.batch(dataset.train, draw(dataset.train.x, 128).at(slice(128)))
    losses = [float(engine.step(x, y)) for _ in range(8)]
    assert losses[-1] < losses[0]
