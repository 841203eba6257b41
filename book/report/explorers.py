"""What every explorer shares: it is static in a page of the book, and made of ipywidgets in a live kernel."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from book.report import figures


def in_book() -> bool:
    """Whether the book is being built, so that no kernel will be there for the reader."""
    return bool(os.environ.get("RIGL_BOOK"))


def show(html: Callable[[], str], widget: Callable[[], Any]) -> None:
    """Display whichever form can work."""
    if in_book():
        figures.emit({"text/html": html()}, raw=True)
    else:
        figures.emit(widget())


def scripts(module: str, data: Any = None) -> str:
    """The script that lies beside the Python file `module`, as HTML, behind the `data` that it reads."""
    script = Path(module).with_suffix(".js").read_text(encoding="utf-8")
    told = ""
    if data is not None:
        safe = json.dumps(data).replace("<", "\\u003c")  # no text among the data ends the script
        told = f'<script type="application/json">{safe}</script>\n'
    return f"{told}<script>{script}</script>"


def options(values: Iterable[str], chosen: str, texts: Iterable[str] | None = None) -> str:
    """The choices of a <select>, as HTML; `texts` where they read otherwise than their values."""
    values = list(values)
    return "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in zip(values, texts or values, strict=True)
    )


def live(controls: Iterable[Any], draw: Callable[[], None]) -> None:
    """Call `draw` now, and whenever one of the widgets `controls` has another value."""
    for control in controls:
        control.observe(lambda _: draw(), names="value")
    draw()


def redraw(output: Any, fig: go.Figure, text: str) -> None:
    """Put a figure in place of what the widget `output` shows."""
    data = figures.bundle(fig, text)
    output.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
