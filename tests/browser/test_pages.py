"""Every page of the book, whichever there are: its links unbroken, read in a browser without a network."""

import re
import subprocess
import sys
from pathlib import Path

import axe_playwright_python
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
# and of functions' descriptions, and of the parts of equations.
OPENED = """() => {
  const page = document.querySelector("main");
  const folded = [...page.querySelectorAll("details")];
  for (const each of folded) each.open = true;
  const alike = ["tbody > tr", "dl.py"].map((kind) => `${kind}:nth-of-type(n + 4)`).join();
  const many = [...folded.slice(9), ...[...page.querySelectorAll("mjx-container")].slice(3)];
  for (const each of [...many, ...page.querySelectorAll(alike)]) each.remove();
}"""


# Three texts of each size, weight and colour on each background: axe takes milliseconds for each, twice.
CONTRAST = """(options) => {
  const seen = {};
  const texts = [...document.querySelectorAll("body *")].filter((each) => {
    const said = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!(said || each.matches("input, select, textarea")) || !each.checkVisibility()) return false;
    const { color, fontSize, fontWeight } = getComputedStyle(each);
    const look = [color, fontSize, fontWeight];
    for (let behind = each; behind; behind = behind.parentElement) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(behind);
      look.push(...[backgroundColor, backgroundImage, opacity].filter((one) => !PLAIN.includes(one)));
    }
    seen[look] = (seen[look] || 0) + 1;
    return seen[look] <= 3;
  });
  return axe.run(texts, { ...options, runOnly: ["color-contrast"] });
}""".replace("PLAIN", '["rgba(0, 0, 0, 0)", "none", "1"]')


# Tables that are wider than their frame, those in folded parts too.
CUT = """() => {
  for (const each of document.querySelectorAll("main details")) each.open = true;
  const every = [...document.querySelectorAll("main .scroll")];
  const wide = every.filter((each) => each.scrollWidth > each.clientWidth + 1);
  return wide.map((each) => `${each.scrollWidth - each.clientWidth}: ${each.ariaLabel.slice(0, 80)}`);
}"""


@pytest.mark.browser
def test_weak_contrast_is_found(browser) -> None:
    page = browser.new_page()
    page.set_content(
        '<p>one</p><p style="color: #aaa">two</p><b style="color: #222; background: #333">three</b>'
        + '<div style="background: #555"><i>four</i></div>' * 5
    )
    page.evaluate((Path(axe_playwright_python.__file__).with_name("axe.min.js")).read_text())
    (found,) = page.evaluate(CONTRAST, {"resultTypes": ["violations"]})["violations"]
    assert [node["target"] for node in found["nodes"]] == [
        ["p:nth-child(2)"],
        ["b"],
        *([f"div:nth-child({number}) > i"] for number in (4, 5, 6)),
    ]
    page.close()


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
    others = {**violations, "rules": {"color-contrast": {"enabled": False}}}
    assert grave(Axe().run(page, options=others).response["violations"]) == []
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        assert grave(page.evaluate(CONTRAST, violations)["violations"]) == []
