"""Every page of the book, whichever there are: its links unbroken, read in a browser without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from browser.conftest import WITHOUT_TORCH
from browser.pages import broken_links, listed

PLOT = 'class="plotly-graph-div'
PAGES = listed()
# What axe finds and this book cannot mend, by rule: where, and why.
THEME: dict[str, str] = {}
pytestmark = pytest.mark.book


def test_the_book_is_built_where_torch_cannot_be_imported() -> None:
    # The hook that every build of these tests runs under.
    done = subprocess.run(
        [sys.executable, "-c", "import torch"],
        env={"PYTHONPATH": str(WITHOUT_TORCH)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'torch'" in done.stderr


def test_these_are_all_pages(site: Path) -> None:
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {name for name in built if not name.startswith("_static/")} == {"index", *PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_nothing_of_other_hosts_and_is_light(site: Path, name: str) -> None:
    page = (site / f"{name}.html").read_text()
    assert not re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*"', page)
    assert ("plotly.min.js" in page) == (PLOT in page)
    assert len(page) < 1_000_000


def test_no_link_within_the_book_is_broken(site: Path) -> None:
    assert broken_links(site) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#one">1</a><a href="b.html#two">2</a><a href="c.html">3</a><a href="#here">4</a>'
        '<a href="https://example.org/d.html">5</a><img src="e.png"><h1 id="here">6</h1>'
    )
    (tmp_path / "b.html").write_text('<h1 id="one">1</h1>')
    assert broken_links(tmp_path) == ["a.html: b.html#two", "a.html: c.html", "a.html: e.png"]


def grave(found: list[dict]) -> list[str]:
    """axe's serious and critical findings in a line each, the theme's own left out."""
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical") and THEME.get(rule["id"]) not in node["target"]
    ]


# What is alike is looked at three times: axe takes seconds for hundreds of rows, of a page's folded tables
# and of functions' descriptions, of coloured words of code, and of the parts of equations.
OPENED = """() => {
  const page = document.querySelector("main");
  const folded = [...page.querySelectorAll("details")];
  for (const each of folded) each.open = true;
  const alike = ["tbody > tr", "dl.py"].map((kind) => `${kind}:nth-of-type(n + 4)`).join();
  const many = [...folded.slice(9), ...[...page.querySelectorAll("mjx-container")].slice(3)];
  for (const each of [...many, ...page.querySelectorAll(alike)]) each.remove();
  const seen = {};
  for (const each of page.querySelectorAll(":is(pre, .sig) :is(span, em)")) {
    const kind = `${each.className} in ${each.parentElement.className}`;
    seen[kind] = (seen[kind] || 0) + 1;
    if (seen[kind] > 3) each.replaceWith(...each.childNodes);
  }
}"""


# Tables that are wider than their frame, those in folded parts too.
CUT = """() => {
  for (const each of document.querySelectorAll("main details")) each.open = true;
  const every = [...document.querySelectorAll("main .scroll")];
  const wide = every.filter((each) => each.scrollWidth > each.clientWidth + 1);
  return wide.map((each) => `${each.scrollWidth - each.clientWidth}: ${each.ariaLabel.slice(0, 80)}`);
}"""


# The sidebar has come to rest, and plots are as wide as their places, those in folded parts left out.
FOLLOWED = """() => document.getAnimations().length === 0 &&
  [...document.querySelectorAll(".plotly-graph-div")].every(
    (plot) => !plot.clientWidth || plot.querySelector(".main-svg").clientWidth === plot.clientWidth)"""


@pytest.mark.browser
def test_plots_follow_their_place(read) -> None:
    """Also where the window stays as it is."""
    page = read("notebooks/flops").page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function(FOLLOWED)
    width = "document.querySelector('.plotly-graph-div .main-svg').clientWidth"
    before = page.evaluate(width)
    page.locator("button.primary-toggle").click()
    page.wait_for_function(f"{width} > {before}")
    page.wait_for_function(FOLLOWED)


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_page_reads_well_and_is_accessible_in_light_and_dark(read, site: Path, name: str) -> None:
    reader = read(name)
    page, html = reader.page, (site / f"{name}.html").read_text()
    assert page.locator(".plotly-graph-div .main-svg").count() >= html.count(PLOT)
    assert reader.overflow() <= 0
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function(FOLLOWED)
    assert reader.overflow() <= 0
    if 'class="math' in html:
        page.wait_for_selector("mjx-container")
    # Before axe, which asks for stylesheets in a way that a page opened as a file may not.
    assert reader.errors == []
    assert reader.outside == []
    # What is unfolded fades in: on a slow machine axe would look at it half-way.
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    assert page.evaluate(CUT) == []
    page.evaluate(OPENED)
    violations = {"resultTypes": ["violations"]}
    assert grave(Axe().run(page, options=violations).response["violations"]) == []
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    colours = {**violations, "runOnly": ["color-contrast"]}
    assert grave(page.evaluate("options => axe.run(options)", colours)["violations"]) == []
