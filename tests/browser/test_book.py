"""The book as its readers meet it: built without a warning, read in a browser without a network."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from book.report import cost_calculator, drop_schedule, mask_movie, names, runs, update_example
from book.report.density_explorer import BUDGETS, GRID, UNITS
from browser.conftest import ROOT, build, command, copy_sources
from browser.pages import listed
from rigl.sparsity.distributions import active_counts, layer_densities
from rigl.sparsity.flops import forward_flops
from rigl.sparsity.shapes import load_layers

pytestmark = pytest.mark.book


def test_runs_are_told_apart_by_their_files(site: Path) -> None:
    assert "<title>Run: train" in (site / "runs" / "train.html").read_text()


def test_no_plot_of_a_run_is_lost(site: Path) -> None:
    assert (site / "runs" / "train.html").read_text().count('class="plotly-graph-div') == 3


def test_failed_runs_are_no_pages(site: Path) -> None:
    assert [path.name for path in (site / "runs").iterdir()] == ["train.html"]


def test_no_widget_reaches_a_page(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text()
        assert "jupyter.widget" not in page, path
        assert "0%|" not in page, path


def test_results_follow_the_records_and_are_escaped(site: Path) -> None:
    page = (site / "notebooks/laptop.html").read_text()
    assert "86.00 ± 1.00" in page
    assert "<b>chip" not in page
    assert "rigl-erk_d0.02_lenet-300-100_laptop_s1" in page
    assert "rigl-erk_d0.02_lenet-300-100_laptop_s1" in (site / "notebooks/records.html").read_text()
    every = list((site / "results").glob("*/*_s?_*.json"))
    assert len((site / "results/records.csv").read_text().splitlines()) == len(every) + 1 > 12


def test_verdicts_follow_the_records_in_tables_and_in_prose(site: Path) -> None:
    page = (site / "notebooks/verdicts.html").read_text()
    board = page[page.index("scoreboard") : page.index("</figure>")]
    row = board[board.index("#claim-rigl-beats-static") :]
    assert row.index("✓ holds") < row.index("+5.00 points") < row.index("</tr>")
    assert "rigl-erk_d0.02_lenet-300-100_laptop_s1" in page
    quoted = (site / "notebooks/laptop.html").read_text()
    assert "holds for LeNet-300-100 on Fashion-MNIST (3 seeds): +5.00 points" in quoted


def test_a_page_offers_its_notebook_and_what_to_cite(site: Path) -> None:
    for name in listed():
        page = (site / f"{name}.html").read_text()
        assert "Cite as: " in page, name
        # A run is the reader's own, whether or not this checkout has made one of the same name.
        offered = (ROOT / f"{name}.ipynb").exists() and not name.startswith("runs/")
        assert ('class="offers"' in page) == offered, name
        assert "mybinder.org/v2" not in page, "no repository is named"
        assert "OWNER/NAME" not in page
    notebook = nbformat.read(site / "notebooks/method.ipynb", as_version=4)
    assert notebook.cells[0].source.startswith("# Method")


def test_code_of_what_one_sees_is_on_the_page(site: Path) -> None:
    for name in ("start", "verdicts", "laptop", "cost", "discrepancies", "use"):
        page = (site / f"notebooks/{name}.html").read_text()
        outputs, shown = page.count("cell_output"), page.count('class="admonition hide above-input"')
        assert 0 < outputs <= shown, name


# Every cell of the notebooks named, in one process; what they display, by notebook.
RUN_ALL = """
import json, sys
import jupytext
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell, shown = InteractiveShell.instance(), {}
for path in sys.argv[1:]:
    shell.reset()
    with capture_output() as found:
        for cell in jupytext.read(path).cells:
            if cell.cell_type == "code":
                shell.run_cell(cell.source).raise_error()
    shown[path] = "".join(output.data.get("text/html", "") for output in found.outputs)
open("shown.json", "w").write(json.dumps(shown))
"""


def test_every_notebook_runs_with_no_record(tmp_path: Path, monkeypatch) -> None:
    copy_sources(tmp_path)
    monkeypatch.setenv("RIGL_BOOK", "1")
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    names = [f"{name}.py" for name in listed() if name.startswith("notebooks/")]
    command("python", "-c", RUN_ALL, *names, cwd=tmp_path)
    shown = json.loads((tmp_path / "shown.json").read_text())
    assert "No runs yet" in shown["notebooks/records.py"]
    assert "No claim has been tested here yet" in shown["notebooks/start.py"]
    assert 'class="runs"' not in shown["notebooks/laptop.py"]
    assert "python -m rigl.campaign run table2" in shown["notebooks/laptop.py"]
    assert "LeNet" not in shown["notebooks/verdicts.py"]


def test_a_book_without_a_run_builds(tmp_path: Path) -> None:
    copy_sources(tmp_path / "source")
    toc = "format: jb-book\nroot: book/references\nchapters:\n  - glob: runs/*\n"
    (tmp_path / "source" / "_toc.yml").write_text(toc)
    assert (build(tmp_path / "source", tmp_path / "site") / "book/references.html").exists()


@pytest.mark.browser
def test_runs_behind_a_figure_open_and_close_by_keyboard(read) -> None:
    page = read("notebooks/laptop").page
    button = page.locator("button.runs", has_text="±").first
    opened = page.locator(".runs-behind:popover-open")
    button.focus()
    page.keyboard.press("Enter")
    opened.get_by_role("link").first.wait_for()
    assert opened.get_attribute("aria-label") == opened.locator("p").first.inner_text()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.tagName") != "A":
        page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    opened.wait_for(state="detached")
    assert button.evaluate("button => button === document.activeElement")


@pytest.mark.browser
def test_from_a_verdict_on_the_first_page_a_record_is_two_clicks_away(read) -> None:
    page = read("notebooks/start").page
    mark = page.locator('.forest a[href*="rigl-beats-static-laptop"]')
    assert "+5.00 points" in mark.get_attribute("aria-label")
    mark.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/verdicts.html#*")
    record = page.locator("details[open] .links a").first
    record.wait_for()
    with page.expect_response("**/results/fashion-mnist/*.json") as found:
        record.click()
    assert found.value.json()["config"]["dataset"] == "fashion-mnist"


@pytest.mark.browser
def test_runs_are_chosen_sorted_and_opened_by_keyboard(read) -> None:
    reader = read("notebooks/records")
    page = reader.page

    def column(head: str) -> list[str]:
        heads = page.locator(".records th").all_text_contents()
        cells = f".records tbody td:nth-child({heads.index(head) + 1})"
        return page.locator(cells).all_text_contents()

    assert column("Accuracy, %") == sorted(column("Accuracy, %"), key=float, reverse=True)
    page.locator('.records [name="Method"]').focus()
    page.keyboard.press("End")
    assert set(column("Method")) == {"Static"}
    assert page.locator(".records .explorer-summary").text_content().startswith("6 of 1")
    page.locator(".records th button", has_text="Seed").focus()
    page.keyboard.press("Enter")
    assert column("Seed") == sorted(column("Seed"))
    assert page.locator('.records th[aria-sort="ascending"]').text_content() == "Seed"
    page.keyboard.press("Enter")
    assert column("Seed") == sorted(column("Seed"), reverse=True)
    page.locator('.records [name="search"]').fill("0.02")
    assert page.locator(".records .explorer-summary").text_content().startswith("3 of 1")
    with page.expect_response("**/results/fashion-mnist/*.json") as found:
        page.locator(".records tbody a").first.click()
    assert found.value.json()["config"]["method"] == "static"
    assert reader.errors == []


@pytest.mark.browser
def test_a_link_shows_what_it_refers_to_on_focus(read) -> None:
    reader = read("notebooks/method")
    page, box = reader.page, reader.page.locator("#preview")
    # By their addresses: a link gives its title away while it is shown.
    address = page.locator(".bd-article a.reference.internal[title*='Mocanu']").first.get_attribute("href")
    cited = page.locator(f'.bd-article a.reference.internal[href="{address}"]').first
    cited.focus()
    assert "Nature Communications" in box.text_content()
    assert cited.get_attribute("aria-describedby") == "preview"
    page.keyboard.press("Escape")
    assert box.is_hidden()
    equation = page.locator('.bd-article a.reference.internal[href="#equation-eq-erk"]').first
    equation.focus()
    box.locator("mjx-container").wait_for()
    assert reader.errors == []


STATE = """() => {
  const root = document.querySelector(".explorer");
  const value = (name) => root.querySelector(`[name="${name}"]`).value;
  const plot = root.querySelector(".plotly-graph-div");
  return {
    model: value("model"), distribution: value("distribution"), budget: value("budget"),
    at: Number(value("value")),
    shown: root.querySelector("output").value, text: root.querySelector(".explorer-summary").textContent,
    bars: [...plot.data[0].y], drawn: plot.querySelectorAll(".bars .point").length,
    rows: [...root.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
  };
}"""


@pytest.mark.browser
def test_explorer_by_keyboard_shows_what_the_package_computes(read) -> None:
    reader = read("notebooks/method")
    page, models = reader.page, load_layers(ROOT / "results" / "layers.json")

    def check() -> tuple[str, str, str, float]:
        state = page.evaluate(STATE)
        value, layers = GRID[state["at"]], models[state["model"]]
        assert state["shown"] == f"{value:g}"
        assert state["text"].startswith(
            f"{names.masks(state['distribution'])} at {UNITS[state['budget']].format(value)}:"
        )
        asked = {"distribution": state["distribution"], state["budget"]: value}
        expected: dict[str, float] = {}
        if state["bars"]:
            expected = layer_densities(layers, **asked)
        else:
            with pytest.raises(ValueError, match="too low"):
                layer_densities(layers, **asked)
            assert "too low" in state["text"]
        assert state["bars"] == list(expected.values())
        assert state["drawn"] == len(state["rows"]) == len(expected)
        for (name, _, density, active, flops), layer in zip(state["rows"], layers, strict=bool(expected)):
            assert name == layer.name
            assert float(density) == pytest.approx(expected[name], rel=1e-3)
            count = active_counts([layer], expected)[name]
            assert int(active.replace(",", "")) == pytest.approx(count, abs=1)
            assert float(flops) == pytest.approx(forward_flops([layer], expected), rel=6e-3)
        return state["model"], state["distribution"], state["budget"], value

    assert check() == (next(iter(models)), "erk", "density", 0.1)
    page.locator('.explorer [name="model"]').focus()
    seen = set()
    for _ in models:
        page.keyboard.press("Tab")
        for key in ("ArrowUp", "ArrowUp", "ArrowDown"):
            page.keyboard.press(key)
            seen.add(check())
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        seen.add(check())
        page.keyboard.press("Tab")
        for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
            page.keyboard.press(key)
            seen.add(check())
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowUp")
        seen.add(check())
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowDown")
    assert {model for model, _, _, _ in seen} == set(models)
    assert {kind for _, kind, _, _ in seen} >= {"uniform", "er"}
    assert {budget for _, _, budget, _ in seen} == set(BUDGETS)
    assert {value for _, _, _, value in seen} >= {GRID[0], GRID[1], GRID[-2], GRID[-1]}
    assert reader.errors == []


DRAWN = """kinds => [...document.querySelectorAll('.movie [role="img"] svg')].map(
  (square) => kinds.map((kind) => square.querySelector(`[data-kind="${kind}"]`).getAttribute("d")))"""


@pytest.mark.browser
def test_film_by_keyboard_shows_the_run(read) -> None:
    reader = read("notebooks/start")
    page, kinds = reader.page, list(mask_movie.KINDS)
    frames = mask_movie.frames(mask_movie.film())
    update, play = page.locator('.movie [name="update"]'), page.locator('.movie [name="play"]')

    def check(number: int) -> None:
        frame = frames[number]
        assert page.locator(".movie .explorer-summary").text_content() == frame["text"]
        assert page.locator('.movie [role="img"]').get_attribute("aria-label") == frame["text"]
        assert page.evaluate(DRAWN, kinds) == [[paths[kind] for kind in kinds] for paths in frame["paths"]]
        counts = page.locator('.movie [role="img"] b').all_text_contents()
        assert list(map(int, counts)) == frame["active"]

    check(1)  # an update tells more than the masks before training
    update.focus()
    for key, number in (("ArrowRight", 2), ("End", len(frames) - 1), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        check(number)
    for number in (0, 1):  # there is none before the first
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        check(number)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("Number(document.querySelector('.movie [name=update]').value) > 1")
    page.keyboard.press("Enter")
    check(int(update.input_value()))
    assert play.text_content() == "Play"
    page.emulate_media(reduced_motion="reduce")
    play.wait_for(state="hidden")
    assert reader.errors == []


LOOKS = """() => [...document.querySelectorAll(".worked td")].map((cell) => {
  const style = getComputedStyle(cell);
  return [style.borderTopStyle, style.borderTopColor, style.borderTopLeftRadius].join();
})"""


@pytest.mark.browser
def test_worked_update_by_keyboard_shows_each_stage(read) -> None:
    reader = read("notebooks/method")
    page, table = reader.page, update_example.stage_table(update_example.example())

    def check(method: str, fraction: str, number: int) -> None:
        stage = table[method][fraction][number]
        assert page.locator(".worked .explorer-summary").text_content() == stage["text"]
        assert page.locator(".worked td").all_text_contents() == stage["cells"]
        pairs = set(zip(stage["kinds"], page.evaluate(LOOKS), strict=True))
        assert len(pairs) == len(set(stage["kinds"])) == len({look for _, look in pairs})

    check("rigl", "0.3", 0)
    page.locator('.worked [name="method"]').focus()
    page.keyboard.press("ArrowUp")
    check("set", "0.3", 0)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    check("set", "0.5", 0)
    page.keyboard.press("Tab")
    for number in (1, 2, 3, 3):
        page.keyboard.press("ArrowRight")
        check("set", "0.5", number)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    check("set", "0.5", 2)
    assert reader.errors == []


@pytest.mark.browser
def test_schedule_by_keyboard_shows_what_the_package_computes(read) -> None:
    reader = read("notebooks/method")
    page, curves = reader.page, drop_schedule.curves()
    alpha, end = drop_schedule.ALPHAS.index(0.3), drop_schedule.ENDS.index(0.75)

    def check() -> None:
        found = curves[alpha][end]
        assert page.locator(".schedule .explorer-summary").text_content() == found["text"]
        drawn, wanted = (
            page.locator(".schedule .chosen").get_attribute("d"),
            drop_schedule.path(found["values"]),
        )
        numbers = [list(map(float, re.findall(r"[\d.]+", path))) for path in (drawn, wanted)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=1e-3)
        shown = page.locator(".schedule output").evaluate_all("found => found.map((output) => output.value)")
        assert shown == [f"{drop_schedule.ALPHAS[alpha]:g}", f"{drop_schedule.ENDS[end]:g}"]

    check()
    page.locator('.schedule [name="alpha"]').focus()
    page.keyboard.press("End")
    alpha = len(drop_schedule.ALPHAS) - 1
    check()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    end -= 1
    check()
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
# The same under every method for every network.
COSTS = f"""([models, methods]) => {{
  const state = {COST};
  const choose = (name, value) => {{
    const select = document.querySelector(`.calculator [name="${{name}}"]`);
    select.value = value;
    for (const kind of ["input", "change"]) select.dispatchEvent(new Event(kind, {{ bubbles: true }}));
  }};
  return models.flatMap((model) => {{
    choose("model", model);
    return methods.map((method) => (choose("method", method), state()));
  }});
}}"""


@pytest.mark.browser
def test_calculator_shows_what_the_package_computes(read, site: Path) -> None:
    reader = read("notebooks/cost")
    page = reader.page
    data = page.evaluate(
        "JSON.parse(document.querySelector('.calculator script[type=\"application/json\"]').textContent)"
    )
    table = {"models": data["models"], "steps": data["steps"]}
    layers = load_layers(ROOT / "results" / "layers.json")
    rules = cost_calculator.table(layers, runs.load(site / "nothing"))
    assert table["steps"] == json.loads(json.dumps(rules["steps"]))

    def check(state: dict[str, list[str]]) -> dict[str, list[str]]:
        model, method, masks, density, delta_t, length = state["setting"]
        setting = GRID[int(density)], cost_calculator.DELTA_TS[int(delta_t)], int(length)
        cost = cost_calculator.cost(table, model, method, masks, *setting)
        by_rules = cost_calculator.cost(rules, model, method, masks, *setting)
        assert by_rules["training"] in (cost["training"], None)
        assert state["cells"] == [text for row in cost_calculator.rows(cost) for text in row[1:]]
        assert (state["origin"], state["printed"]) == (cost["origin"], cost["printed"][2])
        return state

    assert check(page.evaluate(COST))["cells"][2::3] == ["0.17", "0.17"]
    page.locator('.calculator [name="density"]').focus()
    for key in ("ArrowRight", "End", "Home", "ArrowRight"):
        page.keyboard.press(key)
        check(page.evaluate(COST))
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert check(page.evaluate(COST))["setting"][4] == str(len(cost_calculator.DELTA_TS) - 1)
    for state in page.evaluate(COSTS, [list(layers), list(cost_calculator.METHODS)]):
        check(state)
    page.locator('.calculator [name="multiplier"]').select_option("2")
    page.locator('.calculator [name="model"]').select_option("lenet-300-100 on fashion-mnist")
    page.locator('.calculator [name="method"]').select_option("set")
    page.locator('.calculator [name="distribution"]').select_option("uniform")
    assert check(page.evaluate(COST))["cells"][1] == f"{2 * GRID[1]:.4f}"
    assert reader.errors == []
