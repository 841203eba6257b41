"""Whatever is given to a notebook as a parameter is taken or refused in one line."""

import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from book.report import pages
from rigl.campaign import notebook as campaign
from rigl.training import notebook as training
from rigl.training.config import OneLineError, RunConfig

HUGE = 10**5000  # more digits than Python writes out
TEXTS = (
    "wrn-10-" + "9" * 5000,
    "9" * 400 + "d",
    "1" * 5000,
    "cuda:" + "9" * 40,
    "0.1," * 1000,
    "٣",
    "a\0b",
    "",
)
anything = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=20),
    st.integers(),
    st.sampled_from([HUGE, -HUGE, 10**400, 2**63, 10**30]),
    st.floats(),
    st.booleans(),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.floats() | st.text(max_size=3), max_size=2),
    st.builds(object),
    st.binary(max_size=3),
)


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    """A project of its own, so that no folder comes to be in this one."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RIGL_ROOT", str(tmp_path_factory.mktemp("project")))
    yield
    patch.undo()


def one_line(configure, name, value, **usual):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = ""
        try:
            configure({**usual, name: value, "known": 1}, {"known"})
        except OneLineError as error:
            text = str(error)
    assert "\n" not in text
    assert len(text) < 600
    assert text.encode("utf-8") is not None


@given(name=st.sampled_from(training.PARAMETERS), value=anything)
@example(name="epochs", value=10**400)
@example(name="results", value="x" * 5000)
@example(name="results", value=[1, 2])
@example(name="device", value=HUGE)
@example(name="distribution", value={"fc1.weight": HUGE})
def test_of_a_run(name, value):
    one_line(training.configure, name, value, device="cpu")


@given(name=st.sampled_from(campaign.PARAMETERS), value=anything)
@example(name="time_limit", value="9" * 400 + "d")
@example(name="results", value="x" * 5000)
def test_of_a_campaign(name, value):
    one_line(campaign.configure, name, value, tables="table2", protocol="smoke", device="cpu")


@given(name=st.sampled_from(campaign.TUNING_PARAMETERS), value=anything)
@example(name="distribution", value=0.5)
@example(name="density", value="")
def test_of_a_study(name, value):
    usual = {"protocol": "smoke", "density": 0.2, "distribution": "erk", "device": "cpu"}
    one_line(campaign.configure_tuning, name, value, **usual)


@settings(max_examples=50)
@given(name=st.sampled_from(pages.PARAMETERS), value=anything)
def test_of_a_results_page(name, value):
    def configure(namespace, before):
        pages.configure(namespace, before, "table2")

    one_line(configure, name, value, protocol="laptop")


@given(name=st.sampled_from(list(RunConfig.model_fields)), value=anything)
@example(name="model", value="wrn-10-" + "9" * 5000)
@example(name="seed", value=HUGE)
def test_of_a_config(name, value):
    def configure(namespace, _):
        config = RunConfig(**{name: namespace[name]})
        assert config.total_steps > 0
        assert config.name.isascii()

    one_line(configure, name, value)


def test_an_echoed_value_is_cut_at_80_characters():
    with pytest.raises(OneLineError) as caught:
        training.configure({"model": "x" * 5000}, set())
    assert str(caught.value).startswith(f"model='{'x' * 76}... is unknown: choose ")
