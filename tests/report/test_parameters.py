"""Tables of what can be set, from where it is defined."""

import pytest

from book.report import parameters
from rigl.campaign.notebook import PARAMETERS as CAMPAIGN
from rigl.campaign.notebook import TUNING_PARAMETERS as TUNING
from rigl.training import notebook
from rigl.training.config import Protocol, RunConfig, protocol


@pytest.mark.parametrize(
    ("name", "known"), [("train", notebook.PARAMETERS), ("campaign", CAMPAIGN), ("tune", TUNING)]
)
def test_every_parameter_of_a_notebook_is_listed_with_its_meaning(name, known):
    table = parameters.of_notebook(name)
    assert sorted(table["Parameter"]) == sorted(known)
    assert not (table[["Type", "Default", "Meaning"]] == "").any(axis=None)
    assert not table["Type"].eq("None").any()


def test_every_knob_of_a_run_is_told_once_and_has_a_meaning():
    given, others = parameters.of_notebook("train"), parameters.of_python()
    knobs = [*given["Parameter"], *others["Knob"]]
    assert set(RunConfig.model_fields) <= set(knobs)
    assert len(set(knobs)) == len(knobs)
    assert not others["Meaning"].eq("").any()
    assert others.set_index("Knob").loc["momentum", "Default"] == "0.9"
    assert others.set_index("Knob").loc["weight_decay", "Default"] == "the protocol's"


def test_defaults_follow_the_protocols():
    table = parameters.by_protocol().set_index("Knob")
    assert list(table.columns) == [
        *("smoke, digits", "laptop, Fashion-MNIST", "laptop, CIFAR-10", "laptop, CIFAR-100"),
        *("tenth, CIFAR-10", "tenth, CIFAR-100", "paper, CIFAR-10", "paper, CIFAR-100"),
    ]
    assert set(table.index) == {*Protocol.model_fields, "optimiser steps"}
    assert table.loc["optimiser steps", "paper, CIFAR-10"] == "88,000"
    assert table.loc["optimiser steps", "paper, CIFAR-100"] == "78,250"
    assert float(table.loc["dropout", "paper, CIFAR-10"]) == protocol("paper", "cifar10").dropout == 0.3
