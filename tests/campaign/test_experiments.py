"""The report's tables and figures as runs, against the report's own figures in results/published.json."""

import json
import re

import pytest

from book.report import display
from book.report.runs import published
from rigl.campaign.experiments import TABLES, configs, runs, table, with_sources
from rigl.training.config import ConfigError, RunConfig


@pytest.mark.parametrize("name", [name for name in TABLES if "table" in name])
def test_a_table_is_what_the_report_prints(name):
    """Every row of the report and no other, or `published` raises an error; a run each."""
    made = configs(name, protocol="paper")
    assert len({config.name for config in made}) == len(made) == len(published(table=name))


def test_every_table_of_the_report_is_there():
    assert set(published()["table"]) == {name for name in TABLES if "table" in name}
    assert {name for name in TABLES if "figure" in name} == {f"figure{n}" for n in range(1, 6)}


def test_a_row_that_only_one_side_has_is_named(root, tmp_path, monkeypatch):
    monkeypatch.setattr(display, "folder", lambda: tmp_path)
    path = tmp_path / "published.json"
    known = json.loads((root / "results" / "published.json").read_text())
    first, *others = known["tables"]["table1"]
    for found, line in (
        (others, "table1 has no number for dense"),
        ([first, {**first, "row": "dens"}, *others], "table1 has no row dens"),
        ([first, first, *others], "table1 has a row twice"),
    ):
        path.write_text(json.dumps({"tables": {"table1": found}}))
        with pytest.raises(ValueError, match=line):
            published()


def test_figure_3_is_the_reports_grid():
    made = configs("figure3", protocol="paper")
    assert len(made) == 4 * 4 * 3 * 2
    assert {config.learning_rate for config in made} == {0.1, 0.05, 0.01, 0.005}
    assert {(c.alpha, c.delta_t) for c in made} == {(0.3, 100), (0.4, 200), (0.4, 500), (0.5, 750)}


def test_figures_share_their_runs_with_the_tables():
    def names(*tables):
        return {config.name for config in runs(tables, seeds=[0], protocol="paper")}

    beside = {"small-dense", "lottery", "snfs-uniform"}  # SNFS's longer runs are in no figure
    missing = names("table2") - names("figure1")
    assert {name.split("_")[0] for name in missing} == beside
    assert {name.split("_")[0] for name in names("table3") - names("figure2")} == {
        *("small-dense", "lottery", "static-erk", "set-erk")
    }
    assert names("figure5") <= names("table5")
    assert len(names("table2", "figure1")) < len(names("table2")) + len(names("figure1"))
    budgets = [config for config in configs("figure4", protocol="paper") if config.flops]
    assert [config.flops for config in budgets if config.dataset == "cifar100"] == [0.1, 0.2, 0.5]
    assert all(config.density is None for config in budgets)


@pytest.mark.parametrize("name", TABLES)
def test_what_a_run_starts_from_comes_before_it(name):
    order = runs([name], protocol="paper")
    seen = set()
    for config in order:
        assert config.source is None or config.source.name in seen
        assert config.name not in seen
        seen.add(config.name)
    assert with_sources(order) == order


def test_a_source_that_no_row_asks_for_is_added():
    ticket = RunConfig(method="lottery")
    assert with_sources([ticket]) == [ticket.source, ticket]


def test_every_row_comes_once_before_any_seed_comes_twice():
    order = runs(["table2", "table5"], protocol="tenth", seeds=[0, 1, 2])
    assert [config.seed for config in order] == sorted(config.seed for config in order)
    assert order[0].method == "dense"
    column = [c.density for c in runs(["table2"], protocol="tenth", seeds=[0]) if c.method != "dense"]
    assert column == sorted(column)


def test_under_the_laptops_protocol():
    usual = configs("table2", protocol="laptop")
    assert {(c.dataset, c.model) for c in usual} == {("fashion-mnist", "lenet-300-100")}
    assert {c.density for c in usual} == {0.02, 0.05, 0.1, 1.0}
    assert len(usual) == 15 * 3 + 1
    for options, model in (({"model": "wrn-10-1"}, "wrn-10-1"), ({"dataset": "cifar10"}, "wrn-10-2")):
        made = configs("table5", protocol="laptop", densities=[0.05], **options)
        assert {(c.dataset, c.model) for c in made} == {(options.get("dataset", "fashion-mnist"), model)}
        assert len(made) == 8
    for data in ("cifar10", "cifar100"):
        made = configs("table2", protocol="laptop", dataset=data)
        assert {c.density for c in made} == {0.05, 0.1, 0.2, 1.0}
    # A tuned pair belongs to its density.
    assert {c.density for c in configs("table4", protocol="laptop") if c.alpha != 0.3} == {0.1}
    assert all(c.validation == 0 for c in configs("table1", protocol="laptop"))


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"name": "tabel2"}, r"table 'tabel2' is unknown \(did you mean 'table2'\?\): choose from table1, "),
        ({"name": "supplement-figure1"}, "supplement-figure1 is a study"),
        ({"protocol": "papr"}, "protocol='papr' is unknown"),
        ({"dataset": "mnist"}, "dataset='mnist' is unknown"),
        ({"dataset": "digits"}, "protocol='paper' is not defined for dataset='digits'"),
        ({"model": "vgg"}, "model='vgg' is unknown"),
        ({"densities": [2.0]}, "density=2.0 is not right"),
    ],
)
def test_what_does_not_exist_is_one_line(wrong, line):
    with pytest.raises(ConfigError, match=line) as caught:
        configs(**{"name": "table2", "protocol": "paper", **wrong})
    assert "\n" not in str(caught.value)


def test_a_table_says_what_it_is():
    assert re.search("WideResNet", table("table2").title)
