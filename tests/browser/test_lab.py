"""The explorer's live form in a real JupyterLab: its widgets, moved by keyboard, and what Python computes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from book.report.density_explorer import GRID, START, density_table
from browser.conftest import OUTSIDE, ROOT, copy_sources
from rigl.sparsity.shapes import load_layers

NOTEBOOK = "method"
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page at once
    "apputils-extension/notification": {"fetchNews": "false"},
}
pytestmark = [pytest.mark.book, pytest.mark.browser]


@pytest.fixture
def lab(tmp_path: Path, browser) -> Iterator[str]:
    """The address of a JupyterLab over a copy of the sources, on a free port of this machine."""
    copy_sources(tmp_path / "project")
    for name, values in SETTINGS.items():
        path = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    folders = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    folders |= {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython"}
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--expose-app-in-browser"]
    options += ["--IdentityProvider.token=", "--LabApp.extension_manager=readonly"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=tmp_path / "project",
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("RIGL_")},
                **{name: str(tmp_path / folder) for name, folder in folders.items()},
                "PYTHONPATH": str(tmp_path / "project"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield address(server, tmp_path)
        finally:
            server.terminate()
            server.wait(30)


def address(server: subprocess.Popen, folder: Path) -> str:
    """Where the server says that it listens, once it does."""
    while server.poll() is None:
        for path in folder.glob("runtime/jpserver-*.json"):
            try:
                return json.loads(path.read_text())["url"]
            except ValueError:  # it is being written
                pass
        time.sleep(0.2)
    raise AssertionError((folder / "lab.log").read_text())


WIDGETS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
  .flatMap((cell) => cell.outputs || [])
  .filter((output) => "application/vnd.jupyter.widget-view+json" in (output.data || {})).length"""


def test_a_slider_moved_by_keyboard_shows_what_python_computes(browser, lab: str) -> None:
    outside = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.on(
        "request",
        lambda asked: (
            OUTSIDE.match(asked.url) and "//127.0.0.1:" not in asked.url and outside.append(asked.url)
        ),
    )
    page.goto(f"{lab}lab/tree/notebooks/{NOTEBOOK}.ipynb")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.wait_for_function(
        "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    name, layers = next(iter(load_layers(ROOT / "results" / "layers.json").items()))
    points = density_table({name: layers})[name]["points"][START[0]][START[1]]
    at = GRID.index(START[2])
    page.get_by_text(points[at]["text"]).wait_for()
    slider = page.locator(".widget-slider", has=page.get_by_text("at", exact=True))
    assert slider.locator(".noUi-base").bounding_box()["width"] > 100, "a row that does not wrap has 0"
    slider.locator(".noUi-handle").focus()
    for key, index in (("ArrowRight", at + 1), ("ArrowLeft", at), ("ArrowLeft", at - 1)):
        page.keyboard.press(key)
        page.get_by_text(points[index]["text"]).wait_for()
        assert page.get_by_text(points[at]["text"]).count() == (index == at)
    # The other interactive parts are the same HTML as on a page of the book.
    worked = page.locator(".worked")
    worked.locator('[name="next"]').click()
    assert worked.locator(".explorer-summary").text_content().startswith("Drop: ")
    schedule = page.locator(".schedule")
    before = schedule.locator(".chosen").get_attribute("d")
    schedule.locator('[name="alpha"]').focus()
    page.keyboard.press("End")
    assert schedule.locator(".chosen").get_attribute("d") != before
    assert page.evaluate(WIDGETS) == 1, "of the interactive parts only the explorer is one"
    assert not page.locator(".jp-RenderedText[data-mime-type*='stderr']").count()
    assert outside == []
    page.close()
