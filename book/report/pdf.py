"""The built book as one PDF, printed page by page through a Chromium of this machine.

``python -m book.report.pdf HTML TARGET``, as ``make pdf`` calls it; needs the extra ``pdf``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

MARGIN = "15mm"
WIDTH = 680  # CSS pixels between the margins of A4: plots are laid out for the screen, not for paper
# In order of preference: the headless shell is the same engine without a window's parts, and faster.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
QUIET = ("--disable-background-networking", "--disable-component-update")
DRAWN = """() => [...document.querySelectorAll(".plotly-graph-div")].every(
  (plot) => plot.querySelector(".main-svg") || !plot.getClientRects().length)"""
# Links to other pages lead nowhere in the PDF, and nothing scrolls on paper: a wide table is made smaller.
PREPARE = """() => {
  for (const link of document.querySelectorAll("a[href]")) {
    if (link.protocol === "file:" && !link.getAttribute("href").startsWith("#")) link.removeAttribute("href");
  }
  for (const region of document.querySelectorAll(".scroll")) {
    const part = region.clientWidth / region.scrollWidth;
    if (part < 1) region.firstElementChild.style.zoom = part;
  }
}"""
WIDEST = """() => Math.max(0, ...[...document.querySelectorAll(".main-svg, .bd-article :is(table, img)")]
  .map((each) => each.getBoundingClientRect().right))"""
LISTED = (
    """() => [...document.querySelectorAll("nav.bd-links a.reference.internal")].map((link) => link.href)"""
)


class PrintError(Exception):
    """Why the book cannot be printed, in one line."""


def launch(playwright: Playwright) -> Browser:
    """A headless Chromium: one that is installed, else playwright's own. Raises PrintError without one."""
    from playwright.sync_api import Error

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *QUIET])
    except Error as error:
        reason = str(error).splitlines()[0]
        raise PrintError(
            f"no Chromium to print with: install chromium, or run 'playwright install chromium' ({reason})"
        ) from None


def pages(browser: Browser, html: Path) -> list[Path]:
    """The pages of the book built in `html`, in the order of its contents."""
    page = browser.new_page()
    page.goto((html / "index.html").as_uri())
    page.wait_for_selector("nav.bd-links", state="attached")
    listed = [page.url, *page.evaluate(LISTED)]
    page.close()
    return [html / path for path in dict.fromkeys(_within(address, html) for address in listed)]


def _within(address: str, html: Path) -> str:
    return address.partition("#")[0].removeprefix(html.as_uri() + "/")


def prepare(page: Page, path: Path) -> None:
    """Open `path` as it is to be printed. Raises PrintError where a plot, table or picture is too wide."""
    page.emulate_media(media="print", color_scheme="light")
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    page.evaluate(PREPARE)
    wide = page.evaluate(WIDEST)
    if wide > WIDTH:
        raise PrintError(f"{path.name}: something is {wide:.0f} pixels wide, the paper {WIDTH}")


def print_book(browser: Browser, listed: Sequence[Path], target: Path) -> int:
    """Print the pages `listed` into one PDF at `target`, each with a bookmark; the number of its sheets."""
    from pypdf import PdfWriter

    book = PdfWriter()
    margin = {"top": MARGIN, "bottom": MARGIN, "left": MARGIN, "right": MARGIN}
    for path in listed:
        page = browser.new_page()
        prepare(page, path)
        sheets = page.pdf(format="A4", margin=margin, print_background=True)  # type: ignore[arg-type]
        title = page.locator("h1").first.inner_text().rstrip("#")
        book.append(BytesIO(sheets), outline_item=title, import_outline=False)
        page.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    book.write(target)
    return len(book.pages)


def main(html: Path, target: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        sheets = print_book(browser, pages(browser, html.resolve()), target)
    print(f"{target}: {sheets} sheets")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (PrintError, ModuleNotFoundError) as error:
        sys.exit(str(error))
