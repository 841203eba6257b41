"""The book as its readers meet it: built without a warning, read in a browser without a network."""

from pathlib import Path

import nbformat
import pytest

from book.conftest import ROOT, build, command, copy_sources
from rigl.distributions import layer_densities
from rigl.report.explorer import GRID
from rigl.shapes import load_layers

pytestmark = pytest.mark.book


def test_runs_are_told_apart_by_their_files(site: Path) -> None:
    assert "<title>Run: train" in (site / "runs" / "train.html").read_text()


def test_no_plot_of_a_run_is_lost(site: Path) -> None:
    assert (site / "runs" / "train.html").read_text().count('class="plotly-graph-div') == 4


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
