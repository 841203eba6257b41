"""Knobs: filled in by the protocols as PROTOCOL tables say, and refused in one line where they are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigl.config import ConfigError, RunConfig, choose_protocol, parse_wrn, protocol


@pytest.mark.parametrize(
    ("name", "dataset", "steps", "drop_every", "warmup"),
    [
        ("paper", "cifar10", 88_000, 30_000, 0),
        ("tenth", "cifar10", 8_800, 3_000, 0),
        ("paper", "cifar100", 78_250, 20_000, 626),
        ("tenth", "cifar100", 7_825, 2_000, 63),
        ("laptop", "fashion-mnist", 8_600, 2_932, 0),
        ("laptop", "cifar10", 3_520, 1_200, 0),
    ],
)
def test_lengths(name, dataset, steps, drop_every, warmup):
    run = RunConfig(protocol=name, dataset=dataset)
    assert (run.total_steps, run.lr_drop_every, run.warmup_steps) == (steps, drop_every, warmup)
    twice = RunConfig(protocol=name, dataset=dataset, multiplier=2)
    assert (twice.total_steps, twice.lr_drop_every) == (2 * steps, 2 * drop_every)
    assert (twice.warmup_steps, twice.delta_t) == (warmup, 100)


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


def test_dense_runs_are_one_run():
    names = {
        RunConfig(method="dense", density=d, distribution=s, alpha=a).name
        for d, s, a in ((0.1, "erk", 0.3), (0.5, "uniform", 0.1), (1.0, None, 0.3))
    }
    assert len(names) == 1
    assert names.pop().startswith("dense_wrn-10-1_smoke_s0_")
    assert RunConfig(method="static", alpha=0.5).run_id == RunConfig(method="static").run_id


def test_names_for_people():
    run = RunConfig(protocol="laptop", dataset="cifar10", density=0.1, multiplier=2, seed=3)
    assert run.name == f"rigl-erk_d0.1_2x_wrn-10-1_laptop_s3_{run.run_id}"


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"methd": "rigl"}, ["'methd'", "did you mean 'method'"]),
        ({"method": "rigll"}, ["method='rigll'", "'rigl-reinit' or 'rigl-struct'"]),
        ({"density": 0}, ["density=0", "greater than 0"]),
        ({"density": 1.5}, ["density=1.5", "less than or equal to 1"]),
        ({"density": "abc"}, ["density='abc'", "valid number"]),
        ({"dataset": "mnist"}, ["dataset='mnist'", "'digits', 'fashion-mnist', 'cifar10' or 'cifar100'"]),
        ({"protocol": "full"}, ["protocol='full'", "paper, tenth, laptop, smoke"]),
        (
            {"protocol": "paper", "dataset": "digits"},
            ["protocol='paper'", "'digits'", "cifar10 and cifar100"],
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
    with pytest.raises(ConfigError, match="'laptop' is not defined for dataset='cifar100'"):
        protocol("laptop", "cifar100")
