"""The book on paper: every page, nothing clipped."""

from pathlib import Path

import pytest
from pypdf import PdfReader

from book.report import pdf
from browser.pages import listed

pytestmark = [pytest.mark.book, pytest.mark.browser]


def test_pages_come_in_the_order_of_the_contents(browser, site: Path) -> None:
    names = [path.relative_to(site).with_suffix("").as_posix() for path in pdf.pages(browser, site)]
    assert [*names, "search", "genindex"] == listed()


def test_pages_are_printed_whole(browser, site: Path, tmp_path: Path) -> None:
    paths = [site / f"{name}.html" for name in ("book/run", "runs/train")]
    sheets = pdf.print_book(browser, paths, tmp_path / "deep" / "book.pdf")
    book = PdfReader(tmp_path / "deep" / "book.pdf")
    assert sheets == len(book.pages) > 2
    assert [item.title for item in book.outline] == ["Run it yourself", "Run: train"]
    text = "\n".join(sheet.extract_text() for sheet in book.pages)
    assert "Every parameter" in text
    assert "paper," in text  # the last columns of a table that scrolls on a screen
    assert "Skip to main content" not in text
    links = [note.get_object() for sheet in book.pages for note in sheet.get("/Annots", ())]
    assert not any("file:" in str(link.get("/A", "")) for link in links)


def test_plots_are_drawn_for_the_paper(browser, site: Path) -> None:
    page = browser.new_page()
    pdf.prepare(page, site / "runs" / "train.html")
    ends = page.evaluate(
        "[...document.querySelectorAll('.main-svg')].map((plot) => plot.getBoundingClientRect().right)"
    )
    assert len(ends) >= 4
    assert max(ends) <= pdf.WIDTH
    page.close()


def test_what_would_be_clipped_is_an_error(browser, tmp_path: Path) -> None:
    (tmp_path / "wide.html").write_text('<article class="bd-article"><table width="900"></table></article>')
    page = browser.new_page()
    with pytest.raises(pdf.PrintError, match=r"wide\.html"):
        pdf.prepare(page, tmp_path / "wide.html")
    page.close()


def test_no_chromium_is_one_line(tmp_path: Path, python) -> None:
    done = python(
        *("-m", "book.report.pdf", str(tmp_path), str(tmp_path / "book.pdf")),
        cwd=tmp_path,
        PATH=str(tmp_path),
        PLAYWRIGHT_BROWSERS_PATH=str(tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no Chromium to print with")
    assert len(done.stderr.splitlines()) == 1
