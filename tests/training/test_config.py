"""Knobs: filled in by the protocol, and refused in one line where they are wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigl.sparsity.methods import METHODS
from rigl.training import records
from rigl.training.config import DISTRIBUTIONS, ConfigError, RunConfig, choose_protocol, parse_wrn, protocol


@pytest.mark.parametrize(
    ("name", "dataset", "steps", "drop_every", "warmup"),
    [
        ("paper", "cifar10", 88_000, 30_000, 0),
        ("tenth", "cifar10", 8_800, 3_000, 0),
        ("paper", "cifar100", 78_250, 20_000, 626),
        ("tenth", "cifar100", 7_825, 2_000, 63),
        ("laptop", "fashion-mnist", 8_600, 2_932, 0),
        ("laptop", "cifar10", 7_040, 2_400, 0),
        ("laptop", "cifar100", 6_260, 1_600, 50),
    ],
)
def test_lengths(name, dataset, steps, drop_every, warmup):
    run = RunConfig(protocol=name, dataset=dataset)
    assert (run.total_steps, run.lr_drop_every, run.warmup_steps) == (steps, drop_every, warmup)
    twice = RunConfig(protocol=name, dataset=dataset, multiplier=2)
    assert (twice.total_steps, twice.lr_drop_every) == (2 * steps, 2 * drop_every)
    assert (twice.warmup_steps, twice.delta_t) == (warmup, 100)


@pytest.mark.parametrize("method", ["pruning", "lottery"])
@pytest.mark.parametrize(
    ("name", "dataset", "warmup", "start"),
    [
        ("paper", "cifar10", 3_500, 700),
        ("tenth", "cifar10", 350, 70),
        ("laptop", "cifar10", 280, 56),
        ("laptop", "cifar100", 50, 56),
        ("laptop", "fashion-mnist", 342, 68),
        ("paper", "cifar100", 626, 700),
        ("tenth", "cifar100", 63, 70),
    ],
)
def test_pruning_warms_up_and_starts_later(method, name, dataset, warmup, start):
    """On CIFAR-10 its rows have a warm-up of their own; a longer run leaves both."""
    for multiplier in (1, 2, 3):
        run = RunConfig(protocol=name, dataset=dataset, method=method, multiplier=multiplier)
        assert (run.warmup_steps, run.prune_start_steps) == (warmup, start)
    asked = RunConfig(protocol=name, dataset=dataset, method=method, warmup_share=0.5)
    assert asked.warmup_steps == asked.total_steps // 2


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("pruning", "lottery")])
def test_other_methods_have_the_data_sets_warmup(method):
    assert RunConfig(protocol="paper", dataset="cifar10", method=method).warmup_steps == 0
    assert RunConfig(protocol="paper", dataset="cifar100", method=method).warmup_steps == 626


def test_paper_knobs():
    cifar10 = RunConfig(protocol="paper", dataset="cifar10")
    assert (cifar10.model, cifar10.dropout, cifar10.weight_decay) == ("wrn-22-2", 0.3, 5e-4)
    assert (cifar10.validation, cifar10.augmentation, cifar10.label_smoothing) == (5000, "crop-flip", 0)
    cifar100 = RunConfig(protocol="paper", dataset="cifar100")
    assert (cifar100.model, cifar100.weight_decay, cifar100.label_smoothing) == ("resnet-50", 1e-4, 0.1)
    assert cifar100.validation == 10_000


def test_images_that_models_see():
    assert RunConfig(protocol="laptop", dataset="fashion-mnist").input_shape == (1, 28, 28)
    pooled = RunConfig(protocol="laptop", dataset="fashion-mnist", model="wrn-10-1")
    assert pooled.input_shape == (1, 14, 14)


@pytest.mark.parametrize(
    ("asked", "cuda", "chosen"),
    [
        (("auto", None), True, ("paper", "cifar10")),
        (("auto", "cifar100"), True, ("paper", "cifar100")),
        (("auto", "fashion-mnist"), True, ("laptop", "fashion-mnist")),
        (("auto", "digits"), True, ("smoke", "digits")),
        (("auto", None), False, ("smoke", "digits")),
        (("auto", "cifar10"), False, ("laptop", "cifar10")),
        (("auto", "digits"), False, ("smoke", "digits")),
        (("laptop", None), False, ("laptop", "fashion-mnist")),
        (("tenth", None), False, ("tenth", "cifar10")),
    ],
)
def test_what_auto_stands_for(asked, cuda, chosen):
    assert choose_protocol(*asked, cuda) == chosen


def test_run_id_is_the_identity():
    base = RunConfig()
    assert base.run_id == RunConfig(method="rigl", density=0.1).run_id
    changes = {"method": "set", "density": 0.2, "distribution": "uniform", "seed": 1, "alpha": 0.5}
    changes |= {"delta_t": 50, "epochs": 3, "learning_rate": 0.05, "preset": "google", "multiplier": 2}
    ids = {RunConfig(**{name: value}).run_id for name, value in changes.items()} | {base.run_id}
    assert len(ids) == len(changes) + 1
    assert RunConfig(**base.model_dump()).run_id == base.run_id
    # written down once: a change to it would orphan every record there is
    assert RunConfig(protocol="paper", dataset="cifar10").run_id == "5351dc6d"


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("dense_lenet-300-100_laptop_s2_c3ee52a4", {"method": "dense", "seed": 2}),
        ("rigl-erk_d0.02_lenet-300-100_laptop_s1_89b9e75d", {"density": 0.02, "seed": 1}),
        (
            "set-uniform_d0.05_lenet-300-100_laptop_s0_fe944fe1",
            {"method": "set", "density": 0.05, "distribution": "uniform"},
        ),
    ],
)
def test_names_of_records_there_are(name, knobs):
    """Written down once: a change to one of them would orphan every record."""
    assert RunConfig(**{"protocol": "laptop", "dataset": "fashion-mnist", **knobs}).name == name


def test_records_in_the_repository_have_their_configs_names(root):
    paths = records.paths(root / "results")
    assert len(paths) > 30
    for path in paths:
        config = json.loads(path.read_text())["config"]
        assert RunConfig(**config).name == path.stem


# knobs that do not decide the results of a method: other values of them must give the same run
UNUSED = {
    "dense": {"density", "distribution", "preset", "delta_t", "t_end", "alpha", "prune_start_share"},
    "small-dense": {"distribution", "preset", "delta_t", "t_end", "alpha", "prune_start_share"},
    "static": {"delta_t", "t_end", "alpha", "prune_start_share"},
    "pruning": {"distribution", "alpha"},
    "lottery": {"distribution", "alpha"},
}
OTHER = {
    **{"density": 0.3, "distribution": "uniform", "preset": "google", "delta_t": 50, "t_end": 0.5},
    **{"alpha": 0.1, "prune_start_share": 0.2, "seed": 1, "momentum": 0.8, "epochs": 3, "multiplier": 2},
    **{
        "learning_rate": 0.2,
        "weight_decay": 0.1,
        "label_smoothing": 0.1,
        "dropout": 0.1,
        "warmup_share": 0.3,
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_knobs_that_decide_nothing_do_not_make_another_run(method):
    base = RunConfig(method=method)
    same = {name for name, value in OTHER.items() if RunConfig(method=method, **{name: value}) == base}
    assert same == UNUSED.get(method, {"prune_start_share"})
    changed = {RunConfig(method=method, **{name: value}).run_id for name, value in OTHER.items()}
    assert len(changed) == len(OTHER) - len(same) + 1
    everything = {name: OTHER[name] for name in same}
    assert RunConfig(method=method, **everything).name == base.name


def test_dense_runs_are_one_run():
    names = {
        RunConfig(method="dense", density=d, distribution=s, alpha=a).name
        for d, s, a in ((0.1, "erk", 0.3), (0.5, "uniform", 0.1), (1.0, None, 0.3))
    }
    assert len(names) == 1
    assert names.pop().startswith("dense_wrn-10-1_smoke_s0_")
    assert RunConfig(method="static", alpha=0.5).run_id == RunConfig(method="static").run_id


@pytest.mark.parametrize("name", ["laptop", "smoke"])
def test_small_networks_are_float32_unless_asked(name):
    usual = RunConfig(protocol=name)
    assert usual.precision == "auto"
    assert usual.usual_precision == "float32"
    assert RunConfig(protocol=name, precision="float32") == usual
    assert RunConfig(protocol=name, precision="bf16").name != usual.name


def test_precision_is_the_devices_under_the_reports_protocols():
    knobs = {"protocol": "paper", "dataset": "cifar10"}
    assert RunConfig(**knobs).usual_precision == "auto"
    names = {RunConfig(**knobs, precision=each).name for each in ("auto", "bf16", "float32")}
    assert len(names) == 3


def test_names_for_people():
    run = RunConfig(protocol="laptop", dataset="cifar10", density=0.1, multiplier=2, seed=3)
    assert run.name == f"rigl-erk_d0.1_2x_wrn-10-2_laptop_s3_{run.run_id}"
    assert (run.label, run.size) == ("rigl-erk", "density 0.1")
    run = RunConfig(method="pruning")
    assert run.name == f"pruning_d0.1_wrn-10-1_smoke_s0_{run.run_id}"


def test_a_budget_or_given_densities_stand_in_place_of_a_density():
    for name in DISTRIBUTIONS:
        run = RunConfig(flops=0.2, distribution=name, density=0.5)
        assert (run.density, run.size) == (None, "0.2 of the FLOPs")
        assert run.name == f"rigl-{name}_f0.2_wrn-10-1_smoke_s0_{run.run_id}"
        assert run == RunConfig(flops=0.2, distribution=name)
    given = RunConfig(distribution={"a": 0.5, "b": 1})
    assert (given.density, given.size) == (None, "densities given")
    assert given == RunConfig(distribution={"b": 1.0, "a": 0.5}, density=0.7)
    assert given.run_id == RunConfig(distribution={"b": 1.0, "a": 0.5}).run_id
    assert given.run_id != RunConfig(distribution={"a": 0.5, "b": 0.9}).run_id
    assert given.label.startswith("rigl-custom-")
    like = RunConfig(distribution="snfs-erk_d0.1_wrn-10-1_smoke_s0_0123abcd")
    assert (like.density, like.label) == (None, "rigl-as-0123abcd")
    for run in (given, like, RunConfig(flops=0.2)):
        assert RunConfig(**run.model_dump()) == run
        assert RunConfig.model_validate_json(run.model_dump_json()).name == run.name


@pytest.mark.parametrize(
    "knobs",
    [
        {"density": 0.2, "seed": 3, "multiplier": 2, "delta_t": 50, "t_end": 0.5, "preset": "google"},
        {"protocol": "paper", "dataset": "cifar10"},
        {"protocol": "paper", "dataset": "cifar100", "prune_start_share": 0.1, "warmup_share": 0.2},
    ],
)
def test_a_run_starts_from_one_that_is_the_same_in_all_but_the_method(knobs):
    lottery = RunConfig(method="lottery", **knobs)
    assert lottery.source == RunConfig(method="pruning", **knobs)
    differ = {name for name, value in lottery if getattr(lottery.source, name) != value}
    assert differ == {"method"}
    for distribution in ("uniform", "erk"):
        again = RunConfig(method="rigl-reinit", distribution=distribution, alpha=0.2, **knobs)
        assert again.source == RunConfig(method="rigl-sm", distribution=distribution, alpha=0.2, **knobs)
    budget = RunConfig(method="rigl-reinit", flops=0.3, **{**knobs, "density": None})
    assert budget.source == RunConfig(method="rigl-sm", flops=0.3, **{**knobs, "density": None})
    others = [method for method in METHODS if method not in ("lottery", "rigl-reinit")]
    assert all(RunConfig(method=method).source is None for method in others)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"methd": "rigl"}, ["'methd'", "did you mean 'method'"]),
        ({"method": "rigll"}, ["method='rigll'", "rigl-reinit, rigl-struct"]),
        ({"density": 0}, ["density=0", "greater than 0"]),
        ({"density": 1.5}, ["density=1.5", "less than or equal to 1"]),
        ({"density": "abc"}, ["density='abc'", "valid number"]),
        ({"dataset": "mnist"}, ["dataset='mnist'", "'digits', 'fashion-mnist', 'cifar10' or 'cifar100'"]),
        ({"protocol": "full"}, ["protocol='full'", "paper, tenth, laptop, smoke"]),
        (
            {"protocol": "paper", "dataset": "digits"},
            ["protocol='paper'", "'digits'", "cifar10, cifar100"],
        ),
        ({"model": "wrn-11-1"}, ["model='wrn-11-1'", "10, 16, 22"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"seed": 1.5}, ["seed=1.5", "integer"]),
        ({"epochs": 0}, ["epochs=0"]),
        ({"delta_t": 0}, ["delta_t=0"]),
        ({"alpha": 2}, ["alpha=2"]),
        ({"multiplier": 0}, ["multiplier=0"]),
        ({"validation": 1500}, ["validation=1500", "1500 training images"]),
        ({"pool": 3}, ["pool=3"]),
        ({"precision": "fp8"}, ["precision='fp8'"]),
        ({"model": 5, "protocol": "laptop"}, ["model=5"]),
        ({"dataset": ["digits"]}, ["dataset=['digits']"]),
        ({"learning_rate": float("inf")}, ["learning_rate=inf", "finite"]),
        ({"method": "dense", "density": 5}, ["density=5"]),
        ({"method": "dense", "preset": "foo"}, ["preset='foo'"]),
        ({"method": "static", "alpha": 99}, ["alpha=99"]),
        ({"augmentation": "crop-flip", "pool": 2}, ["crop-flip", "5 pixels"]),
        ({"flops": 0}, ["flops=0", "greater than 0"]),
        ({"flops": 1.2}, ["flops=1.2", "less than or equal to 1"]),
        ({"flops": 0.2, "method": "pruning"}, ["flops=0.2", "pruning takes a density"]),
        ({"flops": 0.2, "method": "lottery"}, ["flops=0.2", "lottery takes a density"]),
        ({"flops": 0.2, "method": "small-dense"}, ["flops=0.2", "small-dense takes a density"]),
        ({"flops": 0.2, "distribution": {"a": 0.5}}, ["flops=0.2", "by name: uniform, er, erk, erk-flops"]),
        ({"flops": 0.2, "distribution": "x_0123abcd"}, ["flops=0.2", "by name"]),
        (
            {"distribution": "erk2"},
            ["distribution='erk2' is unknown", "uniform, er, erk, erk-flops", "record"],
        ),
        ({"distribution": "ERK"}, ["distribution='ERK'"]),
        ({"distribution": ""}, ["distribution=''"]),
        ({"distribution": "rigl_0123ABCD"}, ["distribution='rigl_0123ABCD'"]),
        ({"distribution": 5}, ["distribution", "5"]),
        ({"distribution": {"a": 1, "b": 1.5}}, ["density=1.5 of b", "[0, 1]"]),
        ({"distribution": {"a": -0.1}}, ["density=-0.1 of a"]),
        ({"distribution": {"a": "much"}}, ["distribution", "'much'"]),
        ({"method": "pruning", "distribution": "erk2"}, ["distribution='erk2'"]),
        ({"prune_start_share": 1}, ["prune_start_share=1"]),
        ({"warmup_share": -0.1}, ["warmup_share=-0.1"]),
        ({"t_end": 1.1}, ["t_end=1.1"]),
    ],
)
def test_bad_knobs_are_one_line_that_names_the_value(knobs, words):
    with pytest.raises(ConfigError) as caught:
        RunConfig(**knobs)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@given(st.integers(1, 60), st.integers(0, 12))
def test_valid_depths(depth, widen):
    valid = depth >= 10 and (depth - 4) % 6 == 0 and widen >= 1
    if valid:
        assert parse_wrn(f"wrn-{depth}-{widen}") == (depth, widen)
    else:
        with pytest.raises(ValueError, match="is unknown"):
            parse_wrn(f"wrn-{depth}-{widen}")


def test_a_protocol_that_is_not_defined():
    with pytest.raises(ConfigError, match="'laptop' is not defined for dataset='digits'"):
        protocol("laptop", "digits")


def test_execution_is_a_knob_of_sparse_runs_alone():
    """Runs from before the knob keep their names; where nothing is masked it decides nothing."""
    plain = RunConfig(method="rigl")
    assert RunConfig(method="rigl", execution="masked").name == plain.name
    assert RunConfig(method="rigl", execution="sparse").name != plain.name
    assert RunConfig(method="rigl", execution="sparse").changes() == "execution=sparse"
    assert RunConfig(method="dense", execution="sparse") == RunConfig(method="dense")
    with pytest.raises(ConfigError, match="execution='fast'"):
        RunConfig(execution="fast")
