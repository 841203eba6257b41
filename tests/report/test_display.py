"""Tables as HTML: escaped, and aligned by what stands in them."""

import re
from pathlib import Path

import pandas as pd
import pytest

from book.report import display

ROOT = Path(__file__).parents[2]


def test_html_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    page = display.html(pd.DataFrame({evil: [evil]}), f'{evil}"')
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4


def test_leading_words_are_told_from_numbers() -> None:
    table = pd.DataFrame({"Method": ["rigl", "set"], "Masks": ["erk", "-"], "Accuracy": ["-1.5 ± 2", "-"]})
    assert 'class="numbers labels-2"' in display.html(table, "")
    assert 'class="numbers labels-1"' in display.html(table[["Method", "Accuracy"]], "")
    assert 'class="numbers labels-0"' in display.html(table[["Accuracy"]], "")
    assert 'class="numbers labels-2"' in display.html(table[["Method", "Masks"]], "")


def test_text_is_escaped_wherever_it_stands() -> None:
    evil = '<i>"'
    made = [
        display.link(evil, evil, evil),
        display.opened(evil, evil, evil, display.plain(pd.DataFrame({"a": [evil]}))),
        display.csv_link(evil, evil),
    ]
    assert all("<i>" not in page and '<i>"' not in page for page in made)
    assert all("\n" not in page for page in made)


@pytest.mark.parametrize(
    "sheet", sorted((ROOT / "book" / "_static").glob("*.css")), ids=lambda path: path.name
)
def test_every_rule_of_a_style_sheet_is_closed(sheet):
    """One that is not takes all that follows into it, and browsers say nothing."""
    depth = 0
    for number, line in enumerate(re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S).splitlines(), 1):
        depth += line.count("{") - line.count("}")
        # Media queries stand at the top level, so a deeper one means that a rule before it is open.
        wrong = depth < 0 or (line.startswith("@media") and depth > 1)
        assert not wrong, f"{sheet.name}, line {number}"
    assert depth == 0
