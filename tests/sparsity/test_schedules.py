"""Schedules at the points where their values are known."""

import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st

from rigl.sparsity.schedules import drop_fraction, learning_rate, pruning_density
from rigl.training.config import RunConfig


def test_drop_fraction_is_equation_1():
    assert drop_fraction(0, 1000, 0.3) == pytest.approx(0.3)
    assert drop_fraction(500, 1000, 0.3) == pytest.approx(0.15)
    assert drop_fraction(250, 1000, 0.3) == pytest.approx(0.15 * (1 + 2**-0.5))
    assert drop_fraction(1000, 1000, 0.3) == 0
    assert drop_fraction(5000, 1000, 0.3) == 0


def test_other_decays():
    assert drop_fraction(900, 1000, 0.5, "constant") == 0.5
    assert drop_fraction(900, 1000, 0.5, "linear") == pytest.approx(0.05)
    with pytest.raises(ValueError, match="decay='step'"):
        drop_fraction(0, 10, 0.3, "step")


@given(st.integers(0, 2000), st.floats(0, 1), st.sampled_from(["cosine", "linear"]))
def test_drop_fraction_never_rises_nor_leaves_its_range(step, alpha, decay):
    now, later = drop_fraction(step, 1000, alpha, decay), drop_fraction(step + 1, 1000, alpha, decay)
    assert 0 <= later <= now <= alpha + 1e-12


def test_learning_rate_of_the_report():
    """0.1, times 0.2 every 30,000 steps of 88,000."""
    run = RunConfig(protocol="paper", dataset="cifar10")

    def rate(step):
        return learning_rate(step, run.learning_rate, run.lr_drop_every, run.lr_factor, run.warmup_steps)

    points = (0, 29_999, 30_000, 59_999, 60_000, 87_999)
    assert [rate(s) for s in points] == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004])


def test_warm_up_ends_at_the_full_rate():
    assert learning_rate(0, 0.1, 1000, warmup=10) == pytest.approx(0.01)
    assert learning_rate(9, 0.1, 1000, warmup=10) == pytest.approx(0.1)
    assert learning_rate(10, 0.1, 1000, warmup=10) == pytest.approx(0.1)


@given(st.integers(0, 1500), st.floats(0, 1), st.integers(1, 1000))
def test_cosine_is_the_references(step, alpha, t_end):
    assert drop_fraction(step, t_end, alpha) == pytest.approx(reference.cosine(step, t_end, alpha), abs=1e-15)


@given(st.integers(0, 1500), st.floats(0.001, 1), st.floats(0, 900), st.floats(0, 1400))
def test_pruning_density_is_the_references(step, density, t_start, t_end):
    assume(t_start < t_end)
    expected = reference.pruning_density(step, density, t_start, t_end)
    assert pruning_density(step, density, t_start, t_end) == pytest.approx(expected, abs=1e-12)
    assert density <= expected <= 1


def test_pruning_density_by_hand():
    """The report's run: 88,000 steps, from 700 to 66,000, to 0.1."""

    def at(step):
        return pruning_density(step, 0.1, 700, 66_000)

    assert at(0) == at(700) == 1
    assert at(33_350) == pytest.approx(1 - 0.9 * 7 / 8)  # half way
    assert at(17_025) == pytest.approx(1 - 0.9 * (1 - 27 / 64))  # a quarter
    assert at(65_999) == pytest.approx(0.1)
    assert at(66_000) == at(88_000) == 0.1
    assert pruning_density(0, 0.3, 0, 0) == 0.3  # nothing to wait for


@given(st.integers(0, 1500), st.floats(0.001, 1))
def test_pruning_density_never_rises(step, density):
    assert pruning_density(step + 1, density, 100, 1000) <= pruning_density(step, density, 100, 1000)
