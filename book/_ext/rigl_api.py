"""What the API page asks of autodoc: to lay out docstrings that were written to be read as they stand."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

# `name, another  what they are`, with the text lined up in a column of its own.
TERM = re.compile(r"(\S+(?:, \S+)*) {2,}(\S.*)")


def lay_out_terms(app: Sphinx, what: str, name: str, documented: Any, options: Any, lines: list[str]) -> None:
    """Make reStructuredText's definition lists of the columns in which docstrings explain arguments."""
    found: list[str] = []
    within = False
    for line in lines:
        if term := TERM.fullmatch(line):
            found += ["", f"``{term[1]}``", f"    {term[2]}"]
            within = True
        elif within and line.startswith(" "):
            found.append(f"    {line.strip()}")
        else:
            found += ["", line] if within and line else [line]
            within = False
    lines[:] = found


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", lay_out_terms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
