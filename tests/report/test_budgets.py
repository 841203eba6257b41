"""Distributions at equal FLOPs: the figures are the distributions', the verdict follows the runs."""

import pytest

from book.report import budgets, runs
from report.sample import record
from rigl.sparsity.distributions import layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import load_layers
from rigl.training import records
from rigl.training.project import root


def test_densities_cost_the_budget() -> None:
    layers = load_layers(root() / "results" / "layers.json")["wrn-10-1 on fashion-mnist"]
    fig, told = budgets.densities("wrn-10-1 on fashion-mnist", 0.1)
    assert "fewer weights than ERK in 3 layers, whose weights are used at 196 positions" in told
    for bars in fig.data:
        shares = dict(zip([layer.name for layer in layers], bars.y, strict=True))
        assert shares == layer_densities(layers, distribution=bars.name.lower(), flops=0.1)
        assert forward_flops(layers, shares) / forward_flops(layers) == pytest.approx(0.1)


def test_weights_are_those_that_the_budget_leaves() -> None:
    table = budgets.weights(0.1).set_index("Model")
    row = table.loc["LeNet-300-100 on Fashion-MNIST"]
    assert row.tolist() == ["0.1000"] * 3, "without convolutions FLOPs are weights"
    assert float(table.loc["WRN-22-2 on CIFAR-10", "ERK-FLOPs"]) > float(
        table.loc["WRN-22-2 on CIFAR-10", "ERK"]
    )


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))

    def save(**accuracies):
        for name, values in accuracies.items():
            for seed, value in enumerate(values):
                run = record(value, distribution=name.replace("_", "-"), flops=0.1, seed=seed)
                records.save(run, tmp_path / "results")
        records.save(record(99.0), tmp_path / "results")
        return runs.load()

    return save


def test_verdict_follows_the_means(saved) -> None:
    frame = saved(erk_flops=(88.0, 88.2, 88.4), erk=(86.0, 86.1, 86.2), uniform=(88.1, 88.3, 88.5))
    against_erk, against_uniform = budgets.verdict(frame).splitlines()
    assert "against ERK: +2.10 points" in against_erk
    assert against_erk.endswith("better.")
    assert "against uniform: -0.10 points" in against_uniform
    assert against_uniform.endswith("not told apart.")
    table = budgets.table(frame)
    assert table["Masks"].tolist() == ["ERK", "ERK-FLOPs", "uniform"]
    cell = table["Accuracy, %"].tolist()[1]
    assert ">88.20 ± 0.20<" in cell
    assert cell.count("../results/fashion-mnist/rigl-erk-flops") == 3
    assert "99.00" not in table.to_string()


def test_verdict_can_be_against_it_and_needs_runs(saved) -> None:
    assert budgets.verdict(saved()) == "Too few runs yet to say."
    frame = saved(erk_flops=(80.0, 80.2), erk=(86.0, 86.1), uniform=(88.0,))
    first, second = budgets.verdict(frame).splitlines()
    assert first.endswith("worse.")
    assert second.endswith("on a single seed, which decides nothing.")
