"""The book as its readers meet it: built without a warning, read in a browser without a network."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from book.conftest import ROOT, build, command, copy_sources
from rigl import records
from rigl.distributions import layer_densities
from rigl.report import calculator
from rigl.report.explorer import GRID
from rigl.shapes import load_layers

PLOTS = {
    "book/intro": 0,
    "notebooks/masks": 1,
    "book/own-loop": 0,
    "runs/train": 4,
    "notebooks/results": 1,
    "notebooks/budgets": 1,
    "notebooks/hyperparameters": 0,
    "notebooks/cost": 1,
    "notebooks/discrepancies": 0,
    "notebooks/claims": 0,
    "notebooks/cluster": 0,
    "book/references": 0,
    "search": 0,
    "genindex": 0,
}
pytestmark = pytest.mark.book


def test_every_page_is_there_and_asks_nothing_of_other_hosts(site: Path) -> None:
    for name in PLOTS:
        page = (site / f"{name}.html").read_text()
        assert not re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*"', page), name
        assert ("plotly.min.js" in page) == (PLOTS[name] > 0), name
        assert len(page) < 1_000_000, name


def test_runs_are_told_apart_by_their_files(site: Path) -> None:
    assert "<title>Run: train" in (site / "runs" / "train.html").read_text()


def test_failed_runs_are_no_pages(site: Path) -> None:
    assert [path.name for path in (site / "runs").iterdir()] == ["train.html"]


def test_no_widget_reaches_a_page(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text()
        assert "jupyter.widget" not in page, path
        assert "0%|" not in page, path


def test_results_follow_the_records_and_are_escaped(site: Path) -> None:
    page = (site / "notebooks/results.html").read_text()
    assert "86.00 ± 1.00" in page
    assert "81.00 ± 1.00" in page
    assert page.count("No runs yet") == 3
    assert "<b>chip" not in page
    assert "rigl-erk_d0.02_lenet-300-100_laptop_s1" in page


def test_verdicts_follow_the_records_in_tables_and_in_prose(site: Path) -> None:
    page = (site / "notebooks/claims.html").read_text()
    board = page[page.index("scoreboard") : page.index("</figure>")]
    row = board[board.index("#claim-rigl-beats-static") :]
    assert row.index("✓ holds") < row.index("+5.00 points") < row.index("</tr>")
    quoted = page[page.index("In short, on a laptop") :]
    assert "holds for lenet-300-100 on fashion-mnist: +5.00 points" in quoted[: quoted.index("</p>")]
    assert "rigl-erk_d0.02_lenet-300-100_laptop_s1" in page


def test_builds_with_no_record_and_no_run(tmp_path: Path) -> None:
    copy_sources(tmp_path / "source")
    page = (build(tmp_path / "source", tmp_path / "site") / "notebooks/results.html").read_text()
    assert page.count("No runs yet") == 4


def test_a_live_kernel_shows_widgets(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    command("papermill", "notebooks/masks.ipynb", "live.ipynb", "--no-progress-bar", cwd=tmp_path)
    cells = nbformat.read(tmp_path / "live.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)


@pytest.mark.browser
@pytest.mark.parametrize("name", PLOTS)
def test_page_reads_well(read, name: str) -> None:
    reader = read(name)
    assert reader.page.locator(".plotly-graph-div .main-svg").count() >= PLOTS[name]
    assert reader.page.locator(".plotly-graph-div").count() == PLOTS[name]
    assert reader.overflow() <= 0
    reader.page.set_viewport_size({"width": 1280, "height": 900})
    assert reader.overflow() <= 0
    if name == "notebooks/masks":
        reader.page.wait_for_selector("mjx-container")
    assert reader.errors == []
    assert reader.outside == []


STATE = """() => {
  const root = document.querySelector(".explorer");
  const value = (name) => root.querySelector(`[name="${name}"]`).value;
  const plot = root.querySelector(".plotly-graph-div");
  return {
    model: value("model"), distribution: value("distribution"), at: Number(value("density")),
    shown: root.querySelector("output").value, text: root.querySelector(".explorer-summary").textContent,
    bars: [...plot.data[0].y], drawn: plot.querySelectorAll(".bars .point").length,
    rows: [...root.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
  };
}"""


@pytest.mark.browser
def test_explorer_by_keyboard_shows_what_the_package_computes(read) -> None:
    reader = read("notebooks/masks")
    page, models = reader.page, load_layers(ROOT / "results" / "layers.json")

    def check() -> tuple[str, str, float]:
        state = page.evaluate(STATE)
        density, layers = GRID[state["at"]], models[state["model"]]
        expected = layer_densities(layers, density, state["distribution"])
        assert state["bars"] == list(expected.values())
        assert state["drawn"] == len(layers)
        assert state["shown"] == f"{density:g}"
        assert state["text"].startswith(f"{state['distribution']} at density {density:g}:")
        for (name, _, text), layer in zip(state["rows"], layers, strict=True):
            assert name == layer.name
            assert float(text) == pytest.approx(expected[name], rel=1e-3)
        return state["model"], state["distribution"], density

    assert check() == (next(iter(models)), "erk", 0.1)
    page.locator('.explorer [name="model"]').focus()
    seen = set()
    for _ in models:
        page.keyboard.press("Tab")
        for key in ("ArrowUp", "ArrowUp", "ArrowDown"):
            page.keyboard.press(key)
            seen.add(check())
        page.keyboard.press("Tab")
        for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
            page.keyboard.press(key)
            seen.add(check())
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowDown")
    assert {model for model, _, _ in seen} == set(models)
    assert {kind for _, kind, _ in seen} >= {"uniform", "er"}
    assert {density for _, _, density in seen} >= {GRID[0], GRID[1], GRID[-2], GRID[-1]}
    assert reader.errors == []


COST = """() => {
  const root = document.querySelector(".calculator");
  const value = (name) => root.querySelector(`[name="${name}"]`).value;
  return {
    setting: ["model", "method", "distribution", "density", "delta_t", "multiplier"].map(value),
    cells: [...root.querySelectorAll("tbody td")].map((cell) => cell.textContent),
    origin: root.querySelector(".origin").textContent,
    printed: root.querySelector(".printed").textContent,
  };
}"""


@pytest.mark.browser
def test_calculator_shows_what_the_package_computes(read, site: Path) -> None:
    reader = read("notebooks/cost")
    page = reader.page
    data = page.evaluate(
        "JSON.parse(document.querySelector('.calculator script[type=\"application/json\"]').textContent)"
    )
    table = {"models": data["models"], "steps": data["steps"]}
    layers = load_layers(ROOT / "results" / "layers.json")
    rules = calculator.table(layers, records.tabulate([]).assign(variant=""))
    assert table["steps"] == json.loads(json.dumps(rules["steps"]))

    def check() -> dict[str, list[str]]:
        state = page.evaluate(COST)
        model, method, masks, density, delta_t, length = state["setting"]
        setting = GRID[int(density)], calculator.DELTA_TS[int(delta_t)], int(length)
        cost = calculator.cost(table, model, method, masks, *setting)
        by_rules = calculator.cost(rules, model, method, masks, *setting)
        assert by_rules["training"] in (cost["training"], None)
        assert state["cells"] == [text for row in calculator.rows(cost) for text in row[1:]]
        assert (state["origin"], state["printed"]) == (cost["origin"], cost["printed"][2])
        return state

    assert check()["cells"][2::3] == ["0.17", "0.17"]
    page.locator('.calculator [name="density"]').focus()
    for key in ("ArrowRight", "End", "Home", "ArrowRight"):
        page.keyboard.press(key)
        check()
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert check()["setting"][4] == str(len(calculator.DELTA_TS) - 1)
    for model in layers:
        page.locator('.calculator [name="model"]').select_option(model)
        for method in calculator.METHODS:
            page.locator('.calculator [name="method"]').select_option(method)
            check()
    page.locator('.calculator [name="multiplier"]').select_option("2")
    page.locator('.calculator [name="model"]').select_option("lenet-300-100 on fashion-mnist")
    page.locator('.calculator [name="method"]').select_option("set")
    page.locator('.calculator [name="distribution"]').select_option("uniform")
    assert check()["cells"][1] == "0.0300"  # 2 x 0.015
    assert reader.errors == []
