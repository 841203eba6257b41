"""The book, built from a copy of its sources with known records and one run; and a browser to read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest
from filelock import FileLock
from report.sample import record

from book.report import pdf
from rigl.training import records

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = Path(__file__).with_name("without_torch")  # a sitecustomize that hides torch
RUN = """
# # One training run

from tqdm.auto import tqdm

from rigl.training import records
from book.report import figures
from rigl.training.project import root

for _ in tqdm(range(3)):
    pass
record = next(found for _, found in records.records(root() / "results"))

# +
figures.show(*figures.history(record))
figures.show(*figures.densities(record))
figures.show(*figures.flops(record))
"""


def command(name: str, *arguments: object, cwd: Path) -> str:
    """Run a program of this environment's as if torch were not installed; what it printed. Fails the test
    where it fails."""
    program = Path(sys.executable).with_name(name)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(WITHOUT_TORCH), str(cwd)])}
    done = subprocess.run(
        [program, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def copy_sources(target: Path) -> None:
    """What the book is made from, without any record or run."""
    for name in ("book", "notebooks", "rigl", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "results").mkdir()
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, target / name)
    for path in (ROOT / "results").glob("*.json"):
        shutil.copy(path, target / "results")
    for hidden in (".pytest_cache", ".venv"):  # no page, though there are readmes in it
        (target / hidden).mkdir()
        (target / hidden / "README.md").write_text("# No page\n")


def build(source: Path, output: Path) -> Path:
    """Build the book as `make book` does; the folder of its pages."""
    command("jupyter-book", "build", ".", "-W", "-n", "--keep-going", "--path-output", output, cwd=source)
    return output / "_build" / "html"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book with known records and one run, built once for all of xdist's processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "site.lock"):
        if not (folder / "site").exists():
            make_site(folder / "source", folder / "making")
            (folder / "making").rename(folder / "site")
    return folder / "site" / "_build" / "html"


def make_site(source: Path, output: Path) -> None:
    source.mkdir()
    copy_sources(source)
    for method, base in (("static", 80.0), ("rigl", 85.0)):
        for density in (0.02, 0.1):
            for seed in range(3):
                run = record(base + seed, "<b>chip</b>", method=method, density=density, seed=seed)
                records.save(run, source / "results")
    moved = record(86.0, method="rigl-sm", density=0.1, distribution="uniform")
    for number, layer in enumerate(moved.layers):
        layer.density[-1] = 0.05 * (number + 1)
    records.save(moved, source / "results")
    shutil.copytree(ROOT / "results" / "bench", source / "results" / "bench")
    (source / "runs").mkdir()
    notebook = jupytext.reads(RUN, "py:light")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    jupytext.write(notebook, source / "run.ipynb")
    command("papermill", "run.ipynb", "runs/train.ipynb", "--no-progress-bar", cwd=source)
    failed = jupytext.reads("# # One training run\n\n1 / 0", "py:light")
    raised = {"ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}
    failed.cells[-1].outputs = [nbformat.v4.new_output("error", **raised)]
    nbformat.write(failed, source / "runs" / "failed.ipynb")
    build(source, output)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium; where there is none the test is skipped, or fails if one is required."""
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            chromium = pdf.launch(playwright)
            yield chromium
            chromium.close()
    except Exception as error:
        reason = f"NO BROWSER: the book's pages are NOT tested ({str(error).splitlines()[0]})"
        if os.environ.get("RIGL_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


OUTSIDE = re.compile(r"^(https?|wss?|ftp):")


class Reader:
    """One page, opened as a file: what went wrong in it, and what it asked of other hosts."""

    def __init__(self, browser: object, address: Path) -> None:
        self.page = browser.new_page(viewport={"width": 390, "height": 844})
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda asked: OUTSIDE.match(asked.url) and self.outside.append(asked.url))
        self.page.route(OUTSIDE, lambda route: route.abort())
        self.page.goto(address.as_uri())
        self.page.wait_for_function(
            "[...document.querySelectorAll('.plotly-graph-div')].every(p => p.querySelector('.main-svg'))"
        )

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def read(browser: object, site: Path) -> Iterator[object]:
    """Opens a page of the book by name, and closes it when the test ends."""
    opened = []

    def open_page(name: str) -> Reader:
        opened.append(Reader(browser, site / f"{name}.html"))
        return opened[-1]

    yield open_page
    for reader in opened:
        reader.page.close()
