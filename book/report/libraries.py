"""The page that puts `Sparsifier` beside other libraries.

A cell of ours names the tests that show it, and opens their source; one of theirs links to the file that it
was read in. All stands in ``results/libraries.json``: a new row there is a new row of the page.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from book.report import display
from rigl import __version__
from rigl.training.project import root

OURS = "Sparsifier"
MISSING: Markup = display.parts.missing("not found")


def load() -> dict[str, Any]:
    """The data: `libraries` by key, `sources` by name, and `rows` in the order of the page."""
    data: dict[str, Any] = display.read("libraries.json")
    return data


def show() -> None:
    """Display the comparison, a row a question."""
    caption = (
        "A cell of ours opens the tests that show it; one of theirs leads to the file that it was read in. "
        "“Not found” is what the files that we read do not show: it may be elsewhere."
    )
    display.show(display.html(table(), caption, kind="words libraries"))


def table() -> pd.DataFrame:
    """The comparison: the question, our answer, and each library's."""
    data = load()
    return pd.DataFrame([_row(row, data) for row in data["rows"]])


def show_libraries() -> None:
    """Display which libraries these are, in a line each."""
    lines = [f"- **{each['name']}**: {each['about']}." for each in load()["libraries"].values()]
    display.show_text("\n".join(lines))


def show_sources() -> None:
    """Display every file and page that was read, with its commit."""
    rows = [
        {
            "Read": display.parts.link(source["url"], source["read"]),
            "Commit": source.get("commit", "-")[:8],
        }
        for source in load()["sources"].values()
    ]
    text = "Files are read at the commit given; pages as they were stored."
    table = display.html(pd.DataFrame(rows), text, kind="words")
    display.show(display.parts.folded("What was read", table))


def source_of(test: str) -> str:
    """The source of a test given as ``"tests/FILE.py::NAME"``. Raises ValueError where there is none."""
    path, _, name = test.partition("::")
    for node in _functions(path):
        if node.name == name:
            lines = (root() / path).read_text(encoding="utf-8").splitlines()
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            return "\n".join(lines[first - 1 : node.end_lineno])
    raise ValueError(f"no test {test!r}: rename it in results/libraries.json too")


def count_tests() -> int:
    """How many test functions there are for masks and methods."""
    files = sorted(path.relative_to(root()).as_posix() for path in (root() / "tests/sparsity").glob("*.py"))
    return sum(node.name.startswith("test_") for path in files for node in _functions(path))


@cache
def _functions(path: str) -> list[ast.FunctionDef]:
    tree = ast.parse((root() / path).read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def _row(row: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    theirs = {
        library["name"]: _theirs(row["theirs"].get(key), data) for key, library in data["libraries"].items()
    }
    return {"Question": row["name"], OURS: _ours(row), **theirs}


def _ours(row: dict[str, Any]) -> Markup | str:
    """Our answer as a button that opens the tests behind it, or what a file of ours says."""
    cell = row["ours"]
    text = cell["text"].format(version=__version__, tests=count_tests())
    if "tests" not in cell:
        return str(text)
    shown = Markup("").join(
        display.parts.source(test, _on_one_line(source_of(test))) for test in cell["tests"]
    )
    return display.opened(text, f"{row['name']}: the tests", f"tests-{row['key']}", shown)


def _on_one_line(source: str) -> Markup:
    """Escaped source whose line breaks survive a cell, which is one line of HTML."""
    return Markup(str(escape(source)).replace("\n", "&#10;"))


def _theirs(cell: dict[str, str] | None, data: dict[str, Any]) -> Markup:
    if cell is None:
        return MISSING
    source = data["sources"][cell["source"]]
    return Markup(display.parts.link(source["url"], cell["text"], title=source["read"]))
